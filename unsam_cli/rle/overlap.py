"""Overlap of the masks of one image: intersections, IoU, suppression, parents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as cocomask

from unsam_cli.jit import kernel
from unsam_cli.rle.runs import MAX_PIXELS, IntArray, NarrowArray, Rle
from unsam_cli.rle.table import RunTable


def merge(rles: Sequence[Rle], intersect: bool = False) -> Rle:
    """Return the union of masks, or their intersection if `intersect` is set.

    Raises
    ------
    ValueError
        If there is no mask, one is malformed, or the sizes differ.
    """
    if not rles:
        raise ValueError("at least one mask is needed to merge")
    RunTable.from_rles(rles)  # pycocotools would read beyond its arrays on malformed counts
    merged = cocomask.merge(list(rles), intersect=intersect)
    return {"size": [int(side) for side in merged["size"]], "counts": bytes(merged["counts"])}


def iou(a: Sequence[Rle], b: Sequence[Rle]) -> NDArray[np.float64]:
    """Compute the intersection over union of each of n masks `a` with each of m masks `b`.

    Returns
    -------
    (n, m) float64
        From 0 to 1; 0 for two empty masks.

    Raises
    ------
    ValueError
        If a mask is malformed or the sizes differ.
    """
    n, m = len(a), len(b)
    table = RunTable.from_rles([*a, *b])
    pairs = np.indices((n, m)).reshape(2, -1).T + np.array([0, n])
    common = intersections(table, pairs)
    union = table.areas[pairs[:, 0]] + table.areas[pairs[:, 1]] - common
    return np.asarray(common / np.maximum(union, 1)).reshape(n, m)


def intersections(table: RunTable, pairs: IntArray) -> IntArray:
    """Count the pixels that pairs of masks have in common.

    Parameters
    ----------
    table : RunTable
        n masks.
    pairs : (m, 2) int
        Indices of the two masks of each pair; invalid ones raise ValueError.

    Returns
    -------
    (m,) int64
        Number of pixels in both masks of each pair.
    """
    pairs = np.ascontiguousarray(pairs, dtype=np.int64).reshape(-1, 2)
    if pairs.size and not 0 <= pairs.min() <= pairs.max() < len(table):
        raise ValueError(f"pairs must be indices of the table's {len(table)} masks")
    return np.asarray(_intersect_pairs(table.offsets, table.runs, table.boxes, pairs))


def suppress(
    table: RunTable,
    order: IntArray,
    threshold: float,
    *,
    window: int = 0,
    most: int = 0,
    protected: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Apply non-maximum suppression by exact mask IoU.

    Masks are visited in the given order. A kept mask suppresses later ones whose IoU with it is
    above `threshold`.

    Parameters
    ----------
    table : RunTable
        n masks.
    order : (k,) int
        Indices of masks, best first, unique (else ValueError). Masks not listed are dropped.
    threshold : float
        IoU, 0 to 1; a mask with exactly this IoU is kept. The IoU of two empty masks is 0.
    window : int
        Compare a kept mask only with the next ``window - 1`` positions of `order`; 0 compares it
        with all later ones.
    most : int
        Stop when this many masks are kept, and drop the rest; 0 is no limit.
    protected : (n,) bool, optional
        Masks that are never suppressed, but suppress others.

    Returns
    -------
    (n,) bool
        True for the masks that are kept.

    Notes
    -----
    ``window=5`` is the rule of the published UnSAM pipeline, which keeps duplicates more than four
    positions apart.
    """
    order = np.ascontiguousarray(order, dtype=np.int64)
    if order.size and (
        not 0 <= order.min() <= order.max() < len(table) or len(np.unique(order)) < len(order)
    ):
        raise ValueError(f"order must hold indices of the table's {len(table)} masks once each")
    if protected is None:
        protected = np.zeros(len(table), dtype=np.bool_)
    protected = np.ascontiguousarray(protected, dtype=np.bool_)
    if protected.shape != (len(table),):
        raise ValueError(f"protected must have one flag for each of the {len(table)} masks")
    reach = window - 1 if window > 0 else len(order)
    keep: NDArray[np.bool_] = _suppress(
        table.offsets,
        table.runs,
        table.areas,
        table.boxes,
        order,
        threshold,
        reach,
        most or len(order),
        protected,
    )
    return keep


def parents(table: RunTable, containment: float = 0.9) -> IntArray:
    """Find, for each mask, the smallest larger mask that contains it.

    Parameters
    ----------
    table : RunTable
        n masks.
    containment : float
        Fraction of a mask's pixels, 0 to 1, that its parent must contain.

    Returns
    -------
    (n,) int64
        Index of the parent, or -1. Among candidates of equal area, the lowest index is used. A
        parent has more pixels than its child, so there are no cycles. Empty masks have no parent.
    """
    order = np.argsort(table.areas, kind="stable")
    found = _parents(table.offsets, table.runs, table.areas, table.boxes, order, containment)
    return np.asarray(found)


@kernel()
def _box_overlap(a: IntArray, b: IntArray) -> int:
    """Count the pixels that two boxes, x, y, w, h, have in common."""
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return w * h if w > 0 and h > 0 else 0


@kernel()
def _common(offsets: IntArray, runs: NarrowArray, a: int, b: int, spare: int) -> int:
    """Count the pixels in both masks, or return -1 if more than `spare` of `a` are not in `b`."""
    begin, end = offsets[a], offsets[a + 1]
    low, stop = offsets[b], offsets[b + 1]
    if begin == end or low == stop:
        return 0 if spare >= 0 else -1
    high = stop
    while low < high:  # the first run of b that ends after the start of a
        middle = (low + high) // 2
        if runs[middle, 1] <= runs[begin, 0]:
            low = middle + 1
        else:
            high = middle
    total = 0
    for index in range(begin, end):
        first, last = runs[index, 0], runs[index, 1]
        spare -= last - first
        while low < stop and runs[low, 1] <= first:
            low += 1
        while low < stop and runs[low, 0] < last:
            shared = min(last, runs[low, 1]) - max(first, runs[low, 0])
            total += shared
            spare += shared
            if runs[low, 1] > last:
                break
            low += 1
        if spare < 0:
            return -1
    return total


@kernel()
def _intersect_pairs(
    offsets: IntArray, runs: NarrowArray, boxes: IntArray, pairs: IntArray
) -> IntArray:
    common = np.zeros(len(pairs), dtype=np.int64)
    for row in range(len(pairs)):
        a, b = pairs[row]
        if _box_overlap(boxes[a], boxes[b]):
            if offsets[a + 1] - offsets[a] > offsets[b + 1] - offsets[b]:
                a, b = b, a
            common[row] = _common(offsets, runs, a, b, MAX_PIXELS)
    return common


@kernel()
def _suppress(
    offsets: IntArray,
    runs: NarrowArray,
    areas: IntArray,
    boxes: IntArray,
    order: IntArray,
    threshold: float,
    reach: int,
    most: int,
    protected: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    keep = np.zeros(len(areas), dtype=np.bool_)
    places = np.empty(len(order), dtype=np.int64)  # of the masks kept so far
    kept = 0
    for place in range(len(order)):
        b = order[place]
        stays = True
        for earlier in range(kept if areas[b] and not protected[b] else 0):
            if place - places[earlier] > reach:
                continue
            a = order[places[earlier]]
            small, large = (a, b) if areas[a] < areas[b] else (b, a)
            # No IoU exceeds what the areas, then the boxes, allow.
            if areas[small] <= threshold * areas[large]:
                continue
            total = areas[a] + areas[b]
            overlap = min(areas[small], _box_overlap(boxes[a], boxes[b]))
            if overlap / (total - overlap) <= threshold:
                continue
            # IoU > t means intersection > t (A + B) / (1 + t); one pixel of slack for rounding.
            spare = areas[small] - np.int64(threshold * total / (1 + threshold)) + 1
            shared = _common(offsets, runs, small, large, spare)
            if shared >= 0 and shared / (total - shared) > threshold:
                stays = False
                break
        if stays:
            keep[b] = True
            places[kept] = place
            kept += 1
            if kept == most:
                break
    return keep


@kernel()
def _parents(
    offsets: IntArray,
    runs: NarrowArray,
    areas: IntArray,
    boxes: IntArray,
    order: IntArray,
    containment: float,
) -> IntArray:
    count = len(order)
    found = np.full(count, -1, dtype=np.int64)
    for place in range(count):
        child = order[place]
        if areas[child] == 0:
            continue
        needed = np.int64(np.ceil(containment * areas[child]))
        for later in range(place + 1, count):
            other = order[later]
            if areas[other] == areas[child]:
                continue
            if _box_overlap(boxes[child], boxes[other]) < needed:
                continue
            if _common(offsets, runs, child, other, areas[child] - needed) >= needed:
                found[child] = other
                break
    return found
