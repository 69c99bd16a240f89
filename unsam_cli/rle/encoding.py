"""The compressed text of many masks at once."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from unsam_cli.jit import kernel
from unsam_cli.rle.runs import LONGEST_COUNT, IntArray, NarrowArray, Rle, write

BATCH = 1 << 20
"""Runs that are encoded at once, if one mask does not have more: 30 MB of memory."""


def encode_all(offsets: IntArray, runs: NarrowArray, size: tuple[int, int]) -> list[Rle]:
    """Encode all masks of a table; the arguments are those of `RunTable`.

    Raises
    ------
    ValueError
        If the runs of a mask overlap, descend or leave the image.
    """
    height, width = size
    rles: list[Rle] = []
    while (first := len(rles)) < len(offsets) - 1:
        ahead = np.searchsorted(offsets, offsets[first] + BATCH, side="right")
        batch = offsets[first : max(int(ahead), first + 2)]
        wide = runs[batch[0] : batch[-1]].astype(np.int64)
        text, ends = _write_all(batch - batch[0], wide, height * width)
        if len(ends) < len(batch):
            bad = first + len(ends) - 1
            problem = "runs must ascend without overlap and stay inside the image"
            raise ValueError(f"mask {bad}: {problem}")
        data, bounds = text.tobytes(), ends.tolist()
        rles += [
            {"size": [height, width], "counts": data[begin:end]} for begin, end in pairwise(bounds)
        ]
    return rles


@kernel()
def _write_all(
    offsets: IntArray, runs: IntArray, pixels: int
) -> tuple[NDArray[np.uint8], IntArray]:
    """Return the compressed counts of all masks and their ends; fewer ends if a mask is bad."""
    count = len(offsets) - 1
    total = 2 * offsets[count] + count
    text = np.empty(LONGEST_COUNT * total, dtype=np.uint8)
    ends = np.zeros(count + 1, dtype=np.int64)
    for index in range(count):
        own = runs[offsets[index] : offsets[index + 1]]
        length = write(own, pixels, text[ends[index] :])
        if length < 0:
            return text[:0], ends[: index + 1]
        ends[index + 1] = ends[index] + length
    return text[: ends[count]], ends
