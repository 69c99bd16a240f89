"""Find the masks that can match, and group those that compete with each other.

Of a thousand predictions few reach half the union with any mask of the ground truth. What cannot is
told by areas and boxes, then by runs, and needs no matching. The rest falls into clusters that have
nothing to do with each other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unsam_cli.evaluation.sets import PredictionSet, TruthSet
from unsam_cli.rle import RunTable, intersections
from unsam_cli.rle.runs import IntArray


def clusters(
    truth: TruthSet, found: PredictionSet, *, threshold: float
) -> list[tuple[IntArray, IntArray]]:
    """Find the masks that overlap one of the other file enough to be matched, as clusters.

    Masks of different clusters cannot be matched, so each cluster can be matched by itself.

    Parameters
    ----------
    truth, found : TruthSet, PredictionSet
        The masks of one image.
    threshold : float
        Least IoU of a match; with a crowd region, least part of the prediction inside it.

    Returns
    -------
    list of ((n,) int64, (m,) int64)
        For every cluster the indices, ascending, of the predictions and of the ground truth.
    """
    g, d = truth.table, found.table
    if not len(g) or not len(d):
        return []
    # Sums of floats near the threshold may round either way: leave the engine to decide.
    least = threshold - 1e-6
    bound = np.minimum(_box_overlap(d.boxes, g.boxes), d.areas[:, None])
    bound = np.minimum(bound, g.areas[None, :])
    pairs = np.argwhere(_reaches(bound, d.areas[:, None], g.areas, truth.crowd, least))
    exact = intersections(_joined(d, g), pairs + np.array([0, len(d)]))
    left, right = pairs.T
    good = _reaches(exact, d.areas[left], g.areas[right], truth.crowd[right], least)
    return _connected(left[good], right[good], len(g))


def _connected(left: IntArray, right: IntArray, count: int) -> list[tuple[IntArray, IntArray]]:
    """Split pairs into connected components; `count` is the number of masks on the right."""
    label = np.arange(count)
    while True:
        # The smallest label spreads from right to left and back.
        of_left = np.full(left.max(initial=-1) + 1, count)
        np.minimum.at(of_left, left, label[right])
        spread = label.copy()
        np.minimum.at(spread, right, of_left[left])
        if (spread == label).all():
            break
        label = spread
    of_pair = label[right]
    order = np.argsort(of_pair, kind="stable")
    starts = np.flatnonzero(np.diff(of_pair[order], prepend=-1))
    parts = zip(np.split(left[order], starts[1:]), np.split(right[order], starts[1:]), strict=True)
    return [(np.unique(a), np.unique(b)) for a, b in parts if len(a)]


def _reaches(
    common: NDArray[np.int64],
    found: NDArray[np.int64],
    truth: NDArray[np.int64],
    crowd: NDArray[np.bool_],
    least: float,
) -> NDArray[np.bool_]:
    whole = np.where(crowd, found, found + truth - common)
    return np.asarray((common > 0) & (common >= least * whole))


def _box_overlap(a: IntArray, b: IntArray) -> IntArray:
    """Pixels that the boxes of each pair have in common, (n, m)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum((a[:, :2] + a[:, 2:])[:, None], (b[:, :2] + b[:, 2:])[None])
    sides: IntArray = np.maximum(high - low, 0)
    return np.asarray(sides[..., 0] * sides[..., 1])


def _joined(a: RunTable, b: RunTable) -> RunTable:
    """Table of the masks of two tables of one image."""
    return RunTable(
        size=a.size,
        offsets=np.concatenate([a.offsets, a.offsets[-1] + b.offsets[1:]]),
        runs=np.concatenate([a.runs, b.runs]),
        areas=np.concatenate([a.areas, b.areas]),
        boxes=np.concatenate([a.boxes, b.boxes]),
    )
