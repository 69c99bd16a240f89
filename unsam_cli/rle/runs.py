"""The RLE itself: compressed COCO counts to runs of foreground pixels and back, checked.

Pixels are numbered column by column; the index of pixel (x, y) is ``x * H + y``. COCO stores the
lengths of alternating background and foreground runs, background first. Each is a sequence of
printable characters with five bits of the value and one bit that says whether more follow. From the
fourth count on, the difference to the count two before is stored.
"""

from __future__ import annotations

import operator
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from unsam_cli.jit import kernel

IntArray = NDArray[np.int64]
NarrowArray = NDArray[np.int32]
"""Wide enough for `MAX_PIXELS`, with half the memory of int64."""

MAX_PIXELS = 2**29
"""Maximum number of pixels of an image, 512 mebipixels; larger sizes are treated as damage."""

LONGEST_COUNT = 7  # characters; 35 bits hold any difference of counts below MAX_PIXELS

_COMPLAINTS = {
    -1: "counts hold a character outside the RLE alphabet",
    -2: "counts end in the middle of a number",
    -3: "a count is negative",
    -4: "counts add up to more than the image's {0} pixels",
    -5: "counts add up to less than the image's {0} pixels",
    -6: "a count is too large",
}


class Rle(TypedDict):
    """A mask in the format of pycocotools: size [H, W] and compressed counts, column-major."""

    size: list[int]
    counts: bytes


def checked_size(size: Any) -> tuple[int, int]:
    """Return height and width, in pixels, as integers.

    Raises
    ------
    ValueError
        If `size` is not a pair of positive integers, or the image exceeds `MAX_PIXELS`.
    """
    try:
        height, width = size
        height, width = operator.index(height), operator.index(width)
    except (TypeError, ValueError):
        raise ValueError(f"size must be [height, width] in pixels, got {size!r:.80}") from None
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise ValueError(
            f"size {height}x{width} is invalid: sides must be positive and the image must "
            f"have at most {MAX_PIXELS} pixels"
        )
    return height, width


def text_of(rle: Any) -> tuple[bytes, int, int]:
    """Return the compressed counts, height and width of an RLE; the counts are not parsed.

    Raises
    ------
    ValueError
        If a key is missing, has a wrong type, or the size is invalid.
    """
    try:
        size, counts = rle["size"], rle["counts"]
    except (KeyError, TypeError, IndexError):
        raise ValueError(f"an RLE needs the keys size and counts, got {rle!r:.80}") from None
    height, width = checked_size(size)
    if isinstance(counts, str):
        # Other characters than ASCII become bytes outside the alphabet, which `parse` refuses.
        counts = counts.encode("utf-8", errors="surrogatepass")
    if not isinstance(counts, bytes):
        raise ValueError(f"compressed counts must be text, got {type(counts).__name__}")
    return counts, height, width


def complain(code: int, pixels: int) -> ValueError:
    """Return the error for a negative return value of `parse`."""
    return ValueError(_COMPLAINTS[code].format(pixels))


def to_runs(rle: Rle) -> IntArray:
    """Return the runs of foreground of a mask.

    Returns
    -------
    (K, 2) int64
        Start and end (exclusive) of every run as column-major pixel indices, ascending, with at
        least one background pixel between runs.

    Raises
    ------
    ValueError
        If the RLE is malformed or does not fill its image.
    """
    counts, height, width = text_of(rle)
    data = np.frombuffer(counts, dtype=np.uint8)
    runs = np.empty((len(data) // 2, 2), dtype=np.int32)
    found = parse(data, 0, len(data), height * width, runs, 0)
    if found < 0:
        raise complain(found, height * width)
    return runs[:found].astype(np.int64)


def from_runs(runs: IntArray | NarrowArray, size: tuple[int, int] | list[int]) -> Rle:
    """Encode runs of foreground as compressed RLE.

    Parameters
    ----------
    runs : (K, 2) int64 or int32
        Start and end (exclusive) of every run as column-major pixel indices, ascending. Empty and
        touching runs are allowed.
    size : (H, W)
        Height and width of the image, in pixels.

    Raises
    ------
    ValueError
        If runs overlap, descend or leave the image.
    """
    height, width = checked_size(size)
    runs = np.ascontiguousarray(runs, dtype=np.int64).reshape(-1, 2)
    text = np.empty(LONGEST_COUNT * (2 * len(runs) + 1), dtype=np.uint8)
    length = write(runs, height * width, text)
    if length < 0:
        raise ValueError("runs must ascend without overlap and stay inside the image")
    return {"size": [height, width], "counts": text[:length].tobytes()}


@kernel()
def _read_count(data: NDArray[np.uint8], begin: int, end: int) -> tuple[int, int]:
    """Return a number and the index of its end, or a negative code that `complain` explains."""
    value, shift, digit = 0, 0, 32
    while digit & 32:
        if begin == end:
            return 0, -2
        digit = data[begin] - 48
        if digit < 0 or digit > 63:
            return 0, -1
        if shift == 5 * LONGEST_COUNT:
            return 0, -6
        value |= (digit & 31) << shift
        shift += 5
        begin += 1
    if digit & 16:
        value -= 1 << shift
    return value, begin


@kernel()
def parse(
    data: NDArray[np.uint8],
    begin: int,
    end: int,
    pixels: int,
    runs: NarrowArray,
    at: int,
) -> int:
    """Decode the characters ``data[begin:end]`` into ``runs[at:]``.

    `data` are uint8, `pixels` is the number of pixels of the image, `runs` is written in place.
    Runs that touch are merged and empty ones dropped. n characters have at most n // 2 runs.

    Returns
    -------
    int
        Number of runs written, or a negative code that `complain` explains.
    """
    first, place, number = at, 0, 0
    older, newer = 0, 0  # the counts two and one before, for the differences
    while begin < end:
        value, begin = _read_count(data, begin, end)
        if begin < 0:
            return begin
        if number > 2:
            value += older
        if value < 0:
            return -3
        if place + value > pixels:
            return -4
        if number & 1 and value:
            if at > first and runs[at - 1, 1] == place:
                runs[at - 1, 1] = place + value
            else:
                runs[at, 0] = place
                runs[at, 1] = place + value
                at += 1
        older, newer, number = newer, value, number + 1
        place += value
    return at - first if place == pixels else -5


@kernel()
def _write_count(value: int, text: NDArray[np.uint8], at: int) -> int:
    more = True
    while more:
        digit = value & 31
        value >>= 5
        more = value != -1 if digit & 16 else value != 0
        text[at] = digit + 48 + (32 if more else 0)
        at += 1
    return at


@kernel()
def write(runs: IntArray, pixels: int, text: NDArray[np.uint8]) -> int:
    """Encode runs into `text`; return the number of characters, or -1 if runs are not in order.

    `pixels` is the number of pixels of the image; `text` needs 7 bytes per count.
    """
    at, place, older, newer, number = int(np.int64(0)), 0, 0, 0, 0
    index = 0
    while index < len(runs):
        start, end = runs[index, 0], runs[index, 1]
        while index + 1 < len(runs) and runs[index + 1, 0] == end:
            index += 1
            if runs[index, 1] < end:
                return -1
            end = runs[index, 1]
        index += 1
        if start < place or end < start or end > pixels:
            return -1
        if start == end:
            continue
        for value in (start - place, end - start):
            at = _write_count(value - older if number > 2 else value, text, at)
            older, newer, number = newer, value, number + 1
        place = end
    if place < pixels:
        at = _write_count(pixels - place - older if number > 2 else pixels - place, text, at)
    return at
