"""Which masks can match at all.

Of a thousand predictions few reach half the union with any mask of the ground truth. What cannot is
told by areas and boxes, then by runs, and needs no matching.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unsam_cli.evaluation.sets import PredictionSet, TruthSet
from unsam_cli.rle import RunTable, intersections
from unsam_cli.rle.runs import IntArray


def matchable(
    truth: TruthSet, found: PredictionSet, *, threshold: float
) -> tuple[IntArray, IntArray]:
    """Find the masks that overlap one of the other file enough to be matched.

    Parameters
    ----------
    truth, found : TruthSet, PredictionSet
        The masks of one image.
    threshold : float
        Least IoU of a match; with a crowd region, least part of the prediction inside it.

    Returns
    -------
    (n,) int64, (m,) int64
        Indices, ascending, of the predictions and of the ground truth.
    """
    g, d = truth.table, found.table
    if not len(g) or not len(d):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    # Sums of floats near the threshold may round either way: leave the engine to decide.
    least = threshold - 1e-6
    bound = np.minimum(_box_overlap(d.boxes, g.boxes), d.areas[:, None])
    bound = np.minimum(bound, g.areas[None, :])
    pairs = np.argwhere(_reaches(bound, d.areas[:, None], g.areas, truth.crowd, least))
    exact = intersections(_joined(d, g), pairs + np.array([0, len(d)]))
    left, right = pairs.T
    good = _reaches(exact, d.areas[left], g.areas[right], truth.crowd[right], least)
    return np.unique(left[good]), np.unique(right[good])


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
