"""Masks with repeated columns, as of an enlarged label image, which are stored once."""

from __future__ import annotations

import numpy as np

from unsam_cli.jit import kernel
from unsam_cli.rle.runs import IntArray, NarrowArray, Rle, text_of, to_runs


def repeated(rle: Rle, columns: IntArray, x: int) -> NarrowArray:
    """Return the runs of a mask whose columns are repeated, in a wider image of the same height.

    Parameters
    ----------
    rle : Rle
        A mask of H x w pixels.
    columns : (W,) int64
        The column of the mask that each column of the result shows, ascending.
    x : int
        Column of the image in which the result begins.

    Returns
    -------
    (K, 2) int32
        Start and end (exclusive) of every run as column-major pixel indices of the image.

    Raises
    ------
    ValueError
        If the RLE is malformed.
    """
    _, height, _ = text_of(rle)
    runs = to_runs(rle)
    out = np.empty((0, 2), dtype=np.int32)
    out = np.empty((_repeat(runs, height, columns, x, out), 2), dtype=np.int32)
    _repeat(runs, height, columns, x, out)
    return out


@kernel()
def _repeat(runs: IntArray, height: int, columns: IntArray, x: int, out: NarrowArray) -> int:
    """Write the runs if `out` is not empty; return their number."""
    count, first, last = 0, 0, -1
    for column in range(len(columns)):
        base, place = columns[column] * height, (x + column) * height
        while first < len(runs) and runs[first, 1] <= base:
            first += 1
        index = first
        while index < len(runs) and runs[index, 0] < base + height:
            start = place + max(runs[index, 0] - base, 0)
            end = place + min(runs[index, 1] - base, height)
            count += start != last  # otherwise it continues the run in the column before
            if len(out):
                if start != last:
                    out[count - 1, 0] = start
                out[count - 1, 1] = end
            last = end
            index += 1
    return count
