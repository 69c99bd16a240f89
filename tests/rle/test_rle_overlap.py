from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray
from pycocotools import mask as cocomask

from unsam_cli import rle


@st.composite
def crowds(draw: st.DrawFn) -> NDArray[np.bool_]:
    """Masks (n, H, W) that often repeat, contain and nearly equal one another."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    h, w, n = draw(st.integers(1, 14)), draw(st.integers(1, 14)), draw(st.integers(0, 12))
    masks = np.zeros((n, h, w), dtype=np.bool_)
    for index in range(n):
        kind = rng.integers(5)
        if kind == 0 and index:  # a copy with a few pixels flipped
            masks[index] = masks[rng.integers(index)] ^ (rng.random((h, w)) < 0.05)
        elif kind == 1 and index:  # a part
            masks[index] = masks[rng.integers(index)] & (rng.random((h, w)) < 0.7)
        elif kind == 2:
            masks[index] = rng.random((h, w)) < rng.random()
        elif kind == 3:
            masks[index] = rng.integers(2)
        else:
            y, x = rng.integers(h), rng.integers(w)
            masks[index, y : y + rng.integers(1, 8), x : x + rng.integers(1, 8)] = True
    return masks


def table_of(masks: NDArray[np.bool_]) -> rle.RunTable:
    return rle.RunTable.from_rles([rle.encode(mask) for mask in masks], size=masks.shape[1:])


def dense(masks: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    n, h, w = masks.shape
    flat = masks.reshape(n, h * w).astype(np.int64)
    common = flat @ flat.T
    areas = flat.sum(axis=1)
    union = areas[:, None] + areas - common
    return common, np.where(union > 0, common / np.maximum(union, 1), 0.0)


@given(crowds())
def test_table_holds_the_masks(masks: NDArray[np.bool_]) -> None:
    table = table_of(masks)
    assert len(table) == len(masks)
    assert table.size == masks.shape[1:]
    assert table.areas.tolist() == masks.sum(axis=(1, 2)).tolist()
    for index, mask in enumerate(masks):
        runs = table.runs[table.offsets[index] : table.offsets[index + 1]]
        assert rle.from_runs(runs, table.size) == rle.encode(mask)
        assert table.boxes[index].tolist() == rle.boxes([rle.encode(mask)])[0].tolist()
        assert table.rle(index) == rle.encode(mask)


@given(crowds())
def test_intersections_and_iou_are_those_of_the_arrays(masks: NDArray[np.bool_]) -> None:
    common, ious = dense(masks)
    table, n = table_of(masks), len(masks)
    pairs = np.indices((n, n)).reshape(2, -1).T
    np.testing.assert_array_equal(rle.intersections(table, pairs), common.ravel())
    coded = [rle.encode(mask) for mask in masks]
    np.testing.assert_array_equal(rle.iou(coded, coded), ious)
    if n:
        peer = cocomask.iou(coded, coded, [0] * n)
        some = table.areas > 0
        np.testing.assert_allclose(ious[some][:, some], peer[some][:, some], atol=1e-12)


@given(crowds(), st.sampled_from([0.0, 0.3, 0.5, 0.75, 0.9, 1.0]), st.integers(0, 6), st.data())
def test_suppress_is_exact(
    masks: NDArray[np.bool_], threshold: float, window: int, data: st.DataObject
) -> None:
    n = len(masks)
    order = data.draw(st.permutations(range(n)))[: data.draw(st.integers(0, n))]
    protected = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)), dtype=bool)
    _, ious = dense(masks)
    expected = np.zeros(n, dtype=bool)
    expected[order] = True
    for place, a in enumerate(order):
        stop = place + window if window else len(order)
        for b in order[place + 1 : stop]:
            if expected[a] and not protected[b] and ious[a, b] > threshold:
                expected[b] = False
    kept = rle.suppress(
        table_of(masks), np.array(order), threshold, window=window, protected=protected
    )
    np.testing.assert_array_equal(kept, expected)


@given(crowds(), st.sampled_from([0.0, 0.5, 0.8, 0.9, 1.0]))
def test_parents_are_the_smallest_larger_containers(
    masks: NDArray[np.bool_], containment: float
) -> None:
    common, _ = dense(masks)
    areas = masks.sum(axis=(1, 2))
    expected = []
    for child, area in enumerate(areas):
        holders = [
            (areas[other], other)
            for other in range(len(masks))
            if areas[other] > area > 0 and common[child, other] >= containment * area
        ]
        expected.append(min(holders)[1] if holders else -1)
    assert rle.parents(table_of(masks), containment).tolist() == expected


@given(crowds(), st.booleans())
def test_merge(masks: NDArray[np.bool_], intersect: bool) -> None:
    coded = [rle.encode(mask) for mask in masks]
    if not coded:
        with pytest.raises(ValueError, match="at least one"):
            rle.merge(coded)
        return
    expected = masks.all(axis=0) if intersect else masks.any(axis=0)
    np.testing.assert_array_equal(rle.decode(rle.merge(coded, intersect)), expected)


def test_window_keeps_duplicates_that_are_far_apart() -> None:
    table = table_of(np.ones((6, 3, 3), dtype=bool))
    order = np.arange(6)
    assert np.flatnonzero(rle.suppress(table, order, 0.9, window=5)).tolist() == [0, 5]
    assert np.flatnonzero(rle.suppress(table, order, 0.9)).tolist() == [0]


def test_sizes_must_agree() -> None:
    a, b = rle.encode(np.ones((3, 4), dtype=bool)), rle.encode(np.ones((4, 3), dtype=bool))
    with pytest.raises(ValueError, match="mask 1: size 4x3 differs from the image's 3x4"):
        rle.iou([a], [b])
    with pytest.raises(ValueError, match="mask 0: size 3x4 differs"):
        rle.RunTable.from_rles([a], size=(4, 3))


def test_indices_are_checked() -> None:
    table = table_of(np.ones((2, 3, 3), dtype=bool))
    for order in ([0, 2], [-1], [0, 0]):
        with pytest.raises(ValueError, match="order must hold indices of the table's 2"):
            rle.suppress(table, np.array(order), 0.5)
    with pytest.raises(ValueError, match="pairs must be indices"):
        rle.intersections(table, np.array([[0, 2]]))
    with pytest.raises(ValueError, match="one flag for each of the 2"):
        rle.suppress(table, np.array([0]), 0.5, protected=np.ones(3, dtype=bool))


def test_no_masks_at_all() -> None:
    table = rle.RunTable.from_rles([])
    assert table.size == (0, 0)
    assert rle.parents(table).shape == (0,)
    assert rle.suppress(table, np.array([], dtype=np.int64), 0.5).shape == (0,)
    assert rle.iou([], []).shape == (0, 0)
    assert rle.area([]).shape == (0,)
    assert rle.boxes([]).shape == (0, 4)
