"""Masks as polygons: exact by COCO's rule, close to it when simplified."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from unsam_cli.convert.outlines import join, outlines, simplify
from unsam_cli.rle import area, encode, iou

masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14))


def rasterised(polygons: list[list[int]], mask: NDArray[np.bool_]) -> Any:
    return coco_mask.merge(coco_mask.frPyObjects(polygons, *mask.shape))


@settings(max_examples=300)
@given(masks)
def test_outlines_rasterise_to_the_mask(mask: NDArray[np.bool_]) -> None:
    rle = encode(mask)
    found = outlines(rle)
    if not mask.any():
        assert found == []
        return
    assert rasterised([loop.ravel().tolist() for loop in found], mask)["counts"] == rle["counts"]
    together = rasterised([join(found).ravel().tolist()], mask)
    assert together["counts"] == rle["counts"]


@settings(max_examples=100)
@given(masks, st.floats(0, 3))
def test_simplified_outlines_stay_polygons(mask: NDArray[np.bool_], tolerance: float) -> None:
    exact, simple = outlines(encode(mask)), outlines(encode(mask), tolerance=tolerance)
    assert len(exact) == len(simple)
    for one, other in zip(exact, simple, strict=True):
        assert 3 <= len(other) <= len(one)
        assert {tuple(p) for p in other} <= {tuple(p) for p in one}


def test_many_loops_are_joined_in_linear_time() -> None:
    mask = np.random.default_rng(3).random((400, 500)) < 0.5
    found = outlines(encode(mask))
    assert len(found) > 5000
    together = rasterised([join(found).ravel().tolist()], mask)
    assert together["counts"] == encode(mask)["counts"]
    holes = np.ones((400, 500), dtype=bool)
    holes[1:-1:2, 1:-1:2] = False
    [one] = outlines(encode(holes))
    assert rasterised([one.ravel().tolist()], holes)["counts"] == encode(holes)["counts"]


def test_pieces_that_touch_in_a_corner_are_apart() -> None:
    mask = np.zeros((4, 4), dtype=bool)
    mask[:2, :2] = mask[2:, 2:] = True
    first, second = outlines(encode(mask))
    assert first.tolist() == [[2, 0], [2, 2], [0, 2], [0, 0]]
    assert second.tolist() == [[4, 2], [4, 4], [2, 4], [2, 2]]


def test_an_island_in_a_hole_is_its_own_outline() -> None:
    mask = np.ones((9, 9), dtype=bool)
    mask[2:7, 2:7] = False
    mask[4, 4] = True
    lengths = sorted(len(loop) for loop in outlines(encode(mask)))
    assert lengths == [4, 4 + 4 + 2]  # the hole's corners, and the cut there and back


@pytest.mark.parametrize("tolerance", [0.5, 1.0, 1.5])
def test_simplified_discs_are_close_and_small(tolerance: float) -> None:
    y, x = np.mgrid[:200, :220]
    mask = np.hypot(y - 100, x - 110) < 80
    exact = outlines(encode(mask))[0]
    simple = outlines(encode(mask), tolerance=tolerance)[0]
    again = rasterised([simple.ravel().tolist()], mask)
    overlap = iou([encode(mask)], [{"size": [200, 220], "counts": again["counts"]}])[0, 0]
    assert overlap > 1 - tolerance * 0.025
    assert len(simple) < len(exact) * (0.9 if tolerance < 1 else 0.35)


def test_points_left_out_lie_near_the_line() -> None:
    rng = np.random.default_rng(1)
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    radius = 50 + 8 * rng.random(200)
    loop = np.rint(np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)).astype(np.int64)
    simple = simplify(loop, 2.0)
    ends = np.roll(simple, -1, axis=0)
    for point in loop:
        along = ((point - simple) * (ends - simple)).sum(-1) / ((ends - simple) ** 2).sum(-1)
        nearest = simple + np.clip(along, 0, 1)[:, None] * (ends - simple)
        assert np.hypot(*(point - nearest).T).min() <= 2.0 + 1e-9


def test_a_polygon_has_the_area_of_its_mask() -> None:
    rng = np.random.default_rng(2)
    mask = rng.random((30, 40)) < 0.6
    total = 0.0
    for loop in outlines(encode(mask)):
        x, y = loop.T
        total += float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2
    assert total == area([encode(mask)])[0]
