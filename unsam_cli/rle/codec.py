"""Encode and decode masks as arrays: whole masks and windows of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unsam_cli.jit import kernel
from unsam_cli.rle.geometry import check_window, crop_runs
from unsam_cli.rle.runs import IntArray, Rle, checked_size, from_runs, text_of, to_runs

BoolArray = NDArray[np.bool_]

_BLOCK = 64  # pixels that are tested together: most blocks are all foreground or all background


def encode(mask: BoolArray) -> Rle:
    """Encode a mask as compressed RLE, with the same bytes as pycocotools.

    Parameters
    ----------
    mask : (H, W) bool
        True is foreground.

    Raises
    ------
    ValueError
        If the mask has no pixels or more than `MAX_PIXELS`.
    """
    height, width = np.shape(mask)
    return encode_window(mask, 0, 0, (height, width))


def encode_window(mask: BoolArray, x: int, y: int, size: tuple[int, int]) -> Rle:
    """Encode the mask of an image that is background outside a window.

    Time and memory depend on the window only, not on the image.

    Parameters
    ----------
    mask : (h, w) bool
        Pixels of the window; True is foreground.
    x, y : int
        Column and row of the window's upper left pixel.
    size : (H, W)
        Height and width of the image, in pixels.

    Raises
    ------
    ValueError
        If the size is invalid or the window is not inside the image.
    """
    (h, w), (height, width) = np.shape(mask), checked_size(size)
    check_window(x, y, w, h, (height, width))
    columns = np.ascontiguousarray(np.asarray(mask, dtype=np.bool_).T)
    return from_runs(_scan(columns.view(np.uint8), x * height + y, height), (height, width))


def decode(rle: Rle) -> BoolArray:
    """Decode a whole mask.

    Returns
    -------
    (H, W) bool
        True is foreground. Contiguous by columns (Fortran order), like the RLE.

    Raises
    ------
    ValueError
        If the RLE is malformed.
    """
    _, height, width = text_of(rle)
    return _filled(to_runs(rle), height, width)


def decode_window(rle: Rle, x: int, y: int, w: int, h: int) -> BoolArray:
    """Decode a rectangle of a mask; memory depends on the rectangle only.

    Parameters
    ----------
    rle : Rle
        The mask.
    x, y, w, h : int
        Left, top, width and height of the rectangle in pixels, inside the image.

    Returns
    -------
    (h, w) bool
        True is foreground. Contiguous by columns (Fortran order).

    Raises
    ------
    ValueError
        If the RLE is malformed or the window is not inside the image.
    """
    _, height, width = text_of(rle)
    check_window(x, y, w, h, (height, width))
    return _filled(crop_runs(to_runs(rle), height, x, y, w, h), h, w)


def _filled(runs: IntArray, h: int, w: int) -> BoolArray:
    pixels = np.zeros(w * h, dtype=np.bool_)
    _fill(runs, pixels)
    return pixels.reshape(w, h).T


@kernel()
def _fill(runs: IntArray, pixels: BoolArray) -> None:
    for row in range(len(runs)):
        pixels[runs[row, 0] : runs[row, 1]] = True


@kernel()
def _scan(columns: NDArray[np.uint8], first: int, height: int) -> IntArray:
    """List the runs of a window, (w, h), as pixel indices of an image with `height` rows."""
    w, h = columns.shape
    count = 0
    for column in range(w):
        if h:
            count += columns[column, 0] != 0
        for row in range(1, h):
            count += (columns[column, row] != 0) & (columns[column, row - 1] == 0)
    runs = np.empty((count, 2), dtype=np.int64)
    at = 0
    for column in range(w):
        base, before = first + column * height, False
        for block in range(0, h, _BLOCK):
            pixels = columns[column, block : block + _BLOCK]
            if (pixels[0] != 0) == before and not _changes(pixels):
                continue
            for row in range(len(pixels)):
                now = pixels[row] != 0  # Pillow's bool arrays hold 255
                if now == before:
                    continue
                runs[at, int(before)] = base + block + row
                at += before
                before = now
        if before:
            runs[at, 1] = base + h
            at += 1
    return runs


@kernel()
def _changes(pixels: NDArray[np.uint8]) -> bool:
    """Return whether any neighbours differ; the loop has no branch, so that it is vectorised."""
    count = np.uint8(0)
    for row in range(1, len(pixels)):
        count |= pixels[row] ^ pixels[row - 1]
    return bool(count)
