"""The pairs of masks of two tables that overlap much: few of all pairs are intersected."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unsam_cli.rle.overlap import intersections
from unsam_cli.rle.runs import IntArray
from unsam_cli.rle.table import RunTable

Flags = NDArray[np.bool_]


def close_pairs(
    a: RunTable, b: RunTable, least: float, *, crowd: Flags | None = None
) -> tuple[IntArray, NDArray[np.float64]]:
    """Find the pairs of masks of one image whose IoU is at least `least`.

    Areas and boxes exclude most pairs; only the others are intersected.

    Parameters
    ----------
    a, b : RunTable
        n and m masks of the same size.
    least : float
        IoU, above 0 to 1.
    crowd : (m,) bool, optional
        Masks of `b` that are regions of many objects. Their IoU is the intersection over the area
        of the mask of `a`, as in COCO.

    Returns
    -------
    pairs : (P, 2) int64
        Indices in `a` and in `b`, ascending.
    iou : (P,) float64
        From `least` to 1.
    """
    many = np.zeros(len(b), dtype=np.bool_) if crowd is None else crowd
    most = np.minimum(_box_overlap(a.boxes, b.boxes), a.areas[:, None])
    most = np.minimum(most, b.areas)
    pairs = np.argwhere(_iou(most, a.areas[:, None], b.areas, many) >= least)
    exact = intersections(_joined(a, b), pairs + np.array([0, len(a)]))
    left, right = pairs.T
    iou = _iou(exact, a.areas[left], b.areas[right], many[right])
    good = iou >= least
    return pairs[good], iou[good]


def _iou(
    common: IntArray, a: IntArray, b: IntArray, crowd: NDArray[np.bool_]
) -> NDArray[np.float64]:
    whole = np.where(crowd, a, a + b - common)
    return np.asarray(common / np.maximum(whole, 1))


def _box_overlap(a: IntArray, b: IntArray) -> IntArray:
    """Area of the intersection of the boxes of each pair in pixels, (n, m)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum((a[:, :2] + a[:, 2:])[:, None], (b[:, :2] + b[:, 2:])[None])
    return np.asarray(np.maximum(high - low, 0).prod(axis=-1))


def _joined(a: RunTable, b: RunTable) -> RunTable:
    """Concatenate the tables of masks of one image."""
    return RunTable(
        size=a.size,
        offsets=np.concatenate([a.offsets, a.offsets[-1] + b.offsets[1:]]),
        runs=np.concatenate([a.runs, b.runs]),
        areas=np.concatenate([a.areas, b.areas]),
        boxes=np.concatenate([a.boxes, b.boxes]),
    )
