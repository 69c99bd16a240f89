"""How well each cluster recurs in the other trees of its region."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unsam_cli.conquer.levels import Partition
from unsam_cli.jit import kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Labels = NDArray[np.int32]

MOST = 1 << 24
"""Most pairs of clusters of two trees that are compared; with more (``--max-masks 0`` on a large
grid) the trees count as unlike."""


def recurrence(labels: Labels, partitions: Sequence[Partition]) -> list[FloatArray]:
    """Compare the clusters of each tree with those of the other trees.

    Parameters
    ----------
    labels : (T, h, w) int32
        Cell of each point of a lattice in T partitions.
    partitions : sequence of Partition
        The T partitions, which tell how their K clusters are made of cells.

    Returns
    -------
    list of (K,) float64
        For each cluster, the mean over all trees of the fourth power of the IoU with the most
        similar cluster of the tree; an IoU of at most 0.5 counts as 0, and that with the own tree
        is 1. So it is at least 1 / T, and at most 1.
    """
    flat = labels.reshape(len(labels), -1)
    total = [np.ones(len(one.up)) for one in partitions]
    for i, one in enumerate(partitions):
        for j, two in enumerate(partitions[:i]):
            if len(one.up) * len(two.up) <= MOST:
                best = _best(flat[i], flat[j], one.end, one.up, two.end, two.up)
                total[i] += best[0] ** 4
                total[j] += best[1] ** 4
    return [sums[1:] / len(partitions) for sums in total]


@kernel()
def _best(
    one: Labels, two: Labels, end: IntArray, up: IntArray, end2: IntArray, up2: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Largest IoU above 0.5 of each cluster with one of the other tree, 0 if there is none.

    `one` and `two` (P,) are cells of points, the rest ends of clusters and those around them, (K +
    1,) and (L + 1,), as in :class:`unsam_cli.conquer.levels.Partition`. Return (K + 1,), (L + 1,).
    """
    # before[i, j] counts the points in cells below i of the one and below j of the other tree.
    before = np.zeros((len(up) + 1, len(up2) + 1), dtype=np.int32)
    for p in range(len(one)):
        before[one[p] + 1, two[p] + 1] += 1
    for i in range(1, len(up) + 1):
        row = np.int32(0)
        for j in range(1, len(up2) + 1):
            row += before[i, j]
            before[i, j] = before[i - 1, j] + row
    return _search(before, end, end2, up2), _search(before.T, end2, end, up)


@kernel()
def _search(before: NDArray[np.int32], end: IntArray, end2: IntArray, up2: IntArray) -> FloatArray:
    """Find one side of `_best`.

    A cluster whose IoU with this one is above 0.5 has more than half of its points, hence the
    median one in the order of the other tree's cells.
    """
    best = np.zeros(len(end), dtype=np.float64)
    for k in range(1, len(end)):
        low, high = before[k], before[end[k]]
        count = high[-1] - low[-1]
        left, right = 0, len(up2)
        while right - left > 1:
            middle = (left + right) // 2
            if 2 * (high[middle] - low[middle]) > count:
                right = middle
            else:
                left = middle
        at = left
        while at > 0:
            area = before[-1, end2[at]] - before[-1, at]
            if area > 2 * count:
                break
            shared = high[end2[at]] - low[end2[at]] - (high[at] - low[at])
            if 2 * shared > area + count - shared:
                best[k] = max(best[k], shared / (area + count - shared))
            at = up2[at]
    return best
