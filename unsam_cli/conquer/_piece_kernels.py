"""Compiled part of :mod:`unsam_cli.conquer.pixels`: which piece of a cluster becomes its mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unsam_cli.conquer._merge_lists import find
from unsam_cli.jit import kernel

IntArray = NDArray[np.int64]


@kernel()
def keep_largest(offsets: IntArray, runs: IntArray, height: int) -> IntArray:
    """Keep the largest 4-connected piece of each cluster, in place.

    `offsets` (K + 1,) int64 and `runs` (R, 2) int64 are those of
    :func:`unsam_cli.conquer.pixels.cluster_runs`, for an image of `height` rows. The runs that are
    kept move to the front of `runs`. Return the new offsets.
    """
    kept = np.empty(len(offsets), dtype=np.int64)
    count = kept[0] = 0
    for k in range(len(offsets) - 1):
        root, area = _pieces(runs[offsets[k] : offsets[k + 1]], height)
        best = 0
        for piece in range(len(area)):
            if area[piece] > area[best]:
                best = piece
        part, last = 0, -1
        for row in range(offsets[k], offsets[k + 1]):
            # Written are at most as many runs as were read: all columns that a run fills touch.
            start, stop = runs[row, 0], runs[row, 1]
            while start < stop:
                end = min(stop, (start // height + 1) * height)
                if root[part] == best:
                    if last == start:  # continues the run in the column before
                        runs[count - 1, 1] = end
                    else:
                        runs[count, 0], runs[count, 1] = start, end
                        count += 1
                    last = end
                part += 1
                start = end
        kept[k + 1] = count
    return kept


@kernel()
def _pieces(runs: IntArray, height: int) -> tuple[IntArray, IntArray]:
    """Find the pieces of one mask, whose runs are split into parts that lie in one column each.

    Return the root of each part, which names its piece, and the areas in pixels by root.
    """
    count = 0
    for row in range(len(runs)):
        count += (runs[row, 1] - 1) // height - runs[row, 0] // height + 1
    parts = np.empty((count, 2), dtype=np.int64)
    at = 0
    for row in range(len(runs)):
        start, stop = runs[row, 0], runs[row, 1]
        while start < stop:
            parts[at, 0], parts[at, 1] = start, min(stop, (start // height + 1) * height)
            start = parts[at, 1]
            at += 1
    root = np.arange(count)
    before = 0  # first part in the column before that may touch this one
    for here in range(count):
        start, stop = parts[here, 0] - height, parts[here, 1] - height
        while parts[before, 1] <= start:
            before += 1
        beside = before
        while parts[beside, 0] < stop:
            a, b = find(root, beside), find(root, here)
            root[max(a, b)] = min(a, b)
            beside += 1
    area = np.zeros(count, dtype=np.int64)
    for here in range(count):
        root[here] = find(root, here)
        area[root[here]] += parts[here, 1] - parts[here, 0]
    return root, area
