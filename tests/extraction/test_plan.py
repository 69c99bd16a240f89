"""Which rectangles become records, and how large."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unsam_cli.errors import MaskFileError, UsageError
from unsam_cli.extraction.plan import SLACK, fit_size, plan_records, tiles
from unsam_cli.extraction.settings import PlanSettings
from unsam_cli.rle import Rle, encode_window

side = st.integers(1, 5000)


@given(height=side, width=side, size=st.integers(1, 1500), patch=st.sampled_from([7, 8, 14, 16]))
def test_sides_are_the_nearest_multiples(height: int, width: int, size: int, patch: int) -> None:
    h, w = fit_size(height, width, size=size, patch_size=patch)
    for found, wanted in ((h, height), (w, width)):
        exact = wanted * size / max(height, width)
        assert found % patch == 0
        assert found >= patch
        assert abs(found - exact) <= patch / 2 + 1e-6 or found == patch
    assert fit_size(width, height, size=size, patch_size=patch) == (w, h)


def test_sizes_known_by_heart() -> None:
    assert fit_size(321, 481, size=480, patch_size=8) == (320, 480)
    assert fit_size(100, 50, size=480, patch_size=16) == (480, 240)
    assert fit_size(100, 50, size=480, patch_size=8, square=True) == (480, 480)
    assert fit_size(10, 4000, size=480, patch_size=8) == (8, 480)
    assert fit_size(300, 300, size=480, patch_size=14) == (476, 476)


def box_mask(x: int, y: int, w: int, h: int, size: tuple[int, int] = (60, 90)) -> Rle:
    return encode_window(np.ones((h, w), dtype=bool), x, y, size=size)


def test_without_regions_the_record_is_the_whole_image() -> None:
    [plan] = plan_records(60, 90, patch_size=8, settings=PlanSettings(size=96))
    assert (plan.bbox, plan.size, plan.rle, plan.score) == ((0, 0, 90, 60), (64, 96), None, 1.0)


@pytest.mark.parametrize("whole", [False, True])
def test_regions_follow_the_whole_image_in_order(whole: bool) -> None:
    regions = [(box_mask(10, 5, 20, 30), 0.5), (box_mask(0, 0, 1, 1), 0.25)]
    settings = PlanSettings(size=96, region_size=250, whole_image=whole)
    plans = plan_records(60, 90, patch_size=14, settings=settings, regions=regions)
    if whole:
        assert plans.pop(0).bbox == (0, 0, 90, 60)
    assert [p.bbox for p in plans] == [(10, 5, 20, 30), (0, 0, 1, 1)]
    assert [p.size for p in plans] == [(252, 252)] * 2
    assert [p.rle for p in plans] == [rle for rle, _ in regions]
    assert [p.score for p in plans] == [0.5, 0.25]


def test_an_image_without_masks_has_no_region_records() -> None:
    assert plan_records(60, 90, patch_size=8, settings=PlanSettings(), regions=[]) == []


def test_empty_masks_are_left_out() -> None:
    empty = encode_window(np.zeros((1, 1), dtype=bool), 0, 0, size=(60, 90))
    regions = [(empty, 1.0), (box_mask(1, 2, 3, 4), 1.0)]
    plans = plan_records(60, 90, patch_size=8, settings=PlanSettings(), regions=regions)
    assert [p.bbox for p in plans] == [(1, 2, 3, 4)]


def test_masks_of_another_size_are_refused() -> None:
    regions = [(box_mask(1, 2, 3, 4), 1.0), (box_mask(1, 2, 3, 4, size=(61, 90)), 1.0)]
    with pytest.raises(MaskFileError, match="mask 1: size 61x90 differs from the image's 60x90"):
        plan_records(60, 90, patch_size=8, settings=PlanSettings(), regions=regions)


@given(height=side, width=side, tile=st.integers(500, 3000), overlap=st.floats(0, 0.6))
def test_tiles_cover_the_image_and_overlap(
    height: int, width: int, tile: int, overlap: float
) -> None:
    boxes = list(tiles(height, width, PlanSettings(tile=str(tile), overlap=overlap)))
    if max(height, width) <= SLACK * tile:
        assert boxes == []
        return
    for first, length in ((0, width), (1, height)):
        spans = sorted({(box[first], box[first + 2]) for box in boxes})
        assert spans[0][0] == 0
        assert sum(spans[-1]) == length
        assert {side for _, side in spans} == {length if length <= SLACK * tile else tile}
        for (start, side), (following, _) in pairwise(spans):
            assert start + side - following >= overlap * tile


def test_automatic_tiles_end_where_they_are_seen_at_full_resolution() -> None:
    settings = PlanSettings(size=640, tile="auto")
    sides = [w for _, _, w, _ in tiles(3000, 4000, settings)]
    assert sides == sorted(sides, reverse=True)
    assert sides[-1] == 640
    assert all(a <= 2 * b for a, b in pairwise([4000, *sides]))
    assert list(tiles(480, 640, settings)) == []


def test_tiles_follow_the_whole_image_at_its_size() -> None:
    settings = PlanSettings(size=96, whole_image=True, tile="40")
    plans = plan_records(
        60, 90, patch_size=8, settings=settings, regions=[(box_mask(1, 2, 3, 4), 0.5)]
    )
    assert (plans[0].bbox, plans[-1].bbox) == ((0, 0, 90, 60), (1, 2, 3, 4))
    assert {(plan.bbox[2:], plan.rle, plan.size) for plan in plans[1:-1]} == {
        ((40, 40), None, (96, 96))
    }


@pytest.mark.parametrize("tile", ["0", "-3", "half", ""])
def test_a_tile_is_a_number_or_auto(tile: str) -> None:
    with pytest.raises(UsageError, match="not a number of pixels; give 500 or auto"):
        PlanSettings(tile=tile)


def test_an_overlap_is_that_of_tiles() -> None:
    assert PlanSettings(tile="500").shared == 0.3
    assert PlanSettings(tile="500", overlap=0.0).shared == 0
    with pytest.raises(UsageError, match="--overlap needs --tile"):
        PlanSettings(overlap=0.5)
