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
        parts, root, area = _pieces(runs[offsets[k] : offsets[k + 1]], height)
        best = 0
        for piece in range(len(area)):
            if area[piece] > area[best]:
                best = piece
        last = -1
        for part in range(len(root)):
            # Written are at most as many runs as were read: all columns that a run fills touch.
            if root[part] == best:
                if last == parts[part, 0]:  # continues the run in the column before
                    runs[count - 1, 1] = parts[part, 1]
                else:
                    runs[count, 0], runs[count, 1] = parts[part, 0], parts[part, 1]
                    count += 1
                last = parts[part, 1]
        kept[k + 1] = count
    return kept


@kernel()
def _pieces(runs: IntArray, height: int) -> tuple[IntArray, IntArray, IntArray]:
    """Find the pieces of one mask, whose runs are split into parts that lie in one column each.

    Return start and end of each part, the root of each part, which names its piece, and the areas
    in pixels by root.
    """
    most, edge, count = len(runs), 0, 0
    if most > 0:
        first = runs[0, 0] // height
        most += (runs[len(runs) - 1, 1] - 1) // height - first
        edge = (first + 1) * height  # where the column ends
    parts = np.empty((most, 2), dtype=np.int64)
    for row in range(len(runs)):
        start, stop = runs[row, 0], runs[row, 1]
        while start < stop:
            while edge <= start:
                edge += height
            parts[count, 0], parts[count, 1] = start, min(stop, edge)
            start = parts[count, 1]
            count += 1
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
    return parts, root, area
