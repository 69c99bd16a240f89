"""Crop, paste and resize masks on their runs, without decoding."""

from __future__ import annotations

import numpy as np

from unsam_cli.jit import kernel
from unsam_cli.rle.runs import (
    IntArray,
    NarrowArray,
    Rle,
    checked_size,
    from_runs,
    text_of,
    to_runs,
)


def crop(rle: Rle, x: int, y: int, w: int, h: int) -> Rle:
    """Cut a rectangle out of a mask.

    Parameters
    ----------
    rle : Rle
        The mask.
    x, y, w, h : int
        Left, top, width and height of the rectangle in pixels, inside the image and not empty.

    Returns
    -------
    Rle
        Mask of h x w pixels.

    Raises
    ------
    ValueError
        If the RLE is malformed or the window is not inside the image.
    """
    _, height, width = text_of(rle)
    check_window(x, y, w, h, (height, width))
    return from_runs(crop_runs(to_runs(rle), height, x, y, w, h), (h, w))


def paste(rle: Rle, x: int, y: int, size: tuple[int, int]) -> Rle:
    """Paste a mask into a larger, otherwise empty image; the inverse of `crop`.

    Parameters
    ----------
    rle : Rle
        Mask of a window.
    x, y : int
        Column and row of the window's upper left pixel in the image.
    size : (H, W)
        Height and width of the image, in pixels.

    Raises
    ------
    ValueError
        If the RLE is malformed or the window does not fit into the image.
    """
    _, h, w = text_of(rle)
    height, width = checked_size(size)
    check_window(x, y, w, h, (height, width))
    return from_runs(_cut(to_runs(rle), h, 0, 0, w, h, x * height + y, height), (height, width))


def resize(rle: Rle, size: tuple[int, int]) -> Rle:
    """Resize a mask with nearest-neighbour interpolation.

    Pixel (r, c) of the result is pixel (floor((r + 1/2) H / h), floor((c + 1/2) W / w)) of the
    mask, as in Pillow's ``NEAREST``, computed exactly in integers. Time and memory grow with the
    runs of the result, not with its pixels.

    Parameters
    ----------
    rle : Rle
        The mask, of H x W pixels.
    size : (h, w)
        Height and width of the result, in pixels.

    Raises
    ------
    ValueError
        If the RLE is malformed or the size invalid.
    """
    _, height, width = text_of(rle)
    h, w = checked_size(size)
    runs = to_runs(rle)
    out = np.empty((2 * len(runs) + w, 2), dtype=np.int64)
    count = _resample(runs, height, width, h, w, out)
    if count > len(out):
        out = np.empty((count, 2), dtype=np.int64)
        _resample(runs, height, width, h, w, out)
    return from_runs(out[:count], (h, w))


def check_window(x: int, y: int, w: int, h: int, size: tuple[int, int]) -> None:
    """Raise ValueError unless the window lies inside an image of `size` (H, W)."""
    height, width = size
    if min(x, y, w, h) < 0 or x + w > width or y + h > height:
        raise ValueError(
            f"window x={x} y={y} w={w} h={h} is not inside the image of {height}x{width} pixels"
        )


def crop_runs(
    runs: IntArray | NarrowArray, height: int, x: int, y: int, w: int, h: int
) -> IntArray:
    """Return the runs of a mask inside a rectangle, (K, 2) int64, as indices of the rectangle.

    `height` is that of the image; `x`, `y`, `w` and `h` are the rectangle in pixels.
    """
    return _cut(runs, height, x, y, w, h, 0, h)


@kernel()
def _cut(
    runs: IntArray | NarrowArray,
    height: int,
    x: int,
    y: int,
    w: int,
    h: int,
    origin: int,
    stride: int,
) -> IntArray:
    """List runs in a window; pixel (row, column) has index ``origin + column * stride + row``."""
    low, high = 0, len(runs)  # the first run that ends inside or after the window
    while low < high:
        middle = (low + high) // 2
        if runs[middle, 1] <= x * height + y:
            low = middle + 1
        else:
            high = middle
    # A run adds one piece, and one more for each further column it enters.
    pieces = np.empty((len(runs) - low + w, 2), dtype=np.int64)
    at = 0
    for index in range(low, len(runs)):
        start, end = runs[index, 0], runs[index, 1]
        column = start // height
        if column >= x + w:
            break
        column = max(column, x)
        while column < x + w and column * height < end:
            top = max(start - column * height, y)
            bottom = min(end - column * height, y + h)
            if top < bottom:
                place = origin + (column - x) * stride - y
                pieces[at, 0] = place + top
                pieces[at, 1] = place + bottom
                at += 1
            column += 1
    return pieces[:at].copy()


@kernel()
def _resample(runs: IntArray, height: int, width: int, h: int, w: int, out: IntArray) -> int:
    """Resize runs by nearest neighbour; write as many as fit, and return the number of all."""
    at, first = 0, 0
    for column in range(w):
        base = ((2 * column + 1) * width // (2 * w)) * height
        while first < len(runs) and runs[first, 1] <= base:
            first += 1
        index = first
        while index < len(runs) and runs[index, 0] < base + height:
            top = max(runs[index, 0] - base, 0)
            bottom = min(runs[index, 1] - base, height)
            # Row r reads source row floor((2r + 1) H / 2h): the first r that reads >= top.
            begin = (2 * h * top + height - 1) // (2 * height)
            end = (2 * h * bottom + height - 1) // (2 * height)
            if begin < end:
                if at < len(out):
                    out[at, 0] = column * h + begin
                    out[at, 1] = column * h + end
                at += 1
            index += 1
    return at
