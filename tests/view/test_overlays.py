from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from unsam_cli.errors import MaskFileError
from unsam_cli.io.masks import Annotation
from unsam_cli.view import overlays
from unsam_cli.view.colours import hierarchy_colours
from unsam_cli.view.hierarchy import forest
from unsam_cli.view.overlays import draw_overlay

GREY = 128


@pytest.fixture
def grey() -> NDArray[np.uint8]:
    return np.full((240, 320, 3), GREY, dtype=np.uint8)


def hue(rgb: NDArray[np.uint8]) -> float:
    """Angle of a colour around the grey axis, in radians."""
    r, g, b = (float(channel) for channel in rgb)
    return float(np.arctan2(3**0.5 * (g - b), 2 * r - g - b))


def test_masks_are_tinted_and_the_rest_is_untouched(
    grey: NDArray[np.uint8], house: list[Annotation]
) -> None:
    out = draw_overlay(grey, house)
    assert out.shape == grey.shape
    assert out.dtype == np.uint8
    assert (grey == GREY).all()  # the input is not drawn on
    assert (out[:30] == GREY).all()
    assert (out[:, 300:] == GREY).all()
    inside = {n: out[y, x] for n, (y, x) in {11: (100, 60), 12: (180, 75), 15: (100, 250)}.items()}
    assert all(np.ptp(colour) > 10 for colour in inside.values())


def test_every_mask_shows_its_own_colour_and_channels_keep_their_order(
    grey: NDArray[np.uint8], house: list[Annotation]
) -> None:
    out = draw_overlay(grey, house, opacity=1.0)
    tree = forest(house)
    colours = hierarchy_colours(tree.parents, tree.depths)
    # leaves are opaque: door, pane and tree
    for index, at in {1: (180, 75), 3: (95, 125), 4: (100, 250)}.items():
        assert np.abs(out[at].astype(int) - colours[index]).max() <= 1
    assert hue(out[100, 60]) == pytest.approx(hue(colours[0]), abs=0.1)


def test_parts_lie_over_wholes_whatever_the_order(
    grey: NDArray[np.uint8], house: list[Annotation], plain_house: list[Annotation]
) -> None:
    tinted = draw_overlay(grey, house)
    assert (tinted[180, 75] != tinted[100, 60]).any()
    assert (tinted[95, 125] != tinted[120, 125]).any()
    backwards = draw_overlay(grey, plain_house)
    assert (backwards[180, 75] != backwards[100, 60]).any()
    assert (backwards[95, 125] != backwards[120, 125]).any()


def test_borders_are_a_light_and_a_dark_line(
    grey: NDArray[np.uint8], house: list[Annotation]
) -> None:
    out = draw_overlay(grey, house, opacity=0.0).astype(int)
    row = out[100, :, 0]
    assert row[40] > GREY + 60  # first column of the house
    assert row[39] < GREY - 60
    assert (row[41:100] == GREY).all()


def test_borders_grow_with_the_picture(make: Callable[..., Annotation]) -> None:
    mask = np.zeros((100, 2000), dtype=np.bool_)
    mask[:, 500:] = True
    out = draw_overlay(np.full((100, 2000, 3), GREY, np.uint8), [make(1, mask)], opacity=0.0)
    assert np.flatnonzero(out[50, :, 0] > GREY).tolist() == [500, 501, 502]
    assert np.flatnonzero(out[50, :, 0] < GREY).tolist() == [497, 498, 499]


def test_a_picture_is_drawn_in_strips_as_it_is_as_a_whole(
    grey: NDArray[np.uint8], house: list[Annotation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlays, "_PIXELS_PER_LINE", 60)  # lines of 6 pixels
    wanted = draw_overlay(grey, house)
    monkeypatch.setattr(overlays, "_ROWS", 7)
    np.testing.assert_array_equal(draw_overlay(grey, house), wanted)


def test_one_level_of_the_hierarchy(grey: NDArray[np.uint8], house: list[Annotation]) -> None:
    wholes = draw_overlay(grey, house, depth=0)
    assert (wholes[180, 75] == wholes[100, 60]).all()  # no door yet
    one = draw_overlay(grey, house, depth=1)
    assert (one[180, 75] != one[100, 60]).any()
    assert (one[95, 125] == one[120, 125]).all()  # no pane yet
    assert (draw_overlay(grey, house, depth=2) == draw_overlay(grey, house)).all()


def test_masks_are_resized_to_the_picture(house: list[Annotation]) -> None:
    small = np.full((120, 160, 3), GREY, dtype=np.uint8)
    out = draw_overlay(small, house)
    assert (out[90, 37] != out[50, 30]).any()
    with pytest.raises(MaskFileError, match="320x240 pixels, but the image has 240x320"):
        draw_overlay(np.zeros((320, 240, 3), np.uint8), house)


def test_nothing_to_draw(grey: NDArray[np.uint8], make: Callable[..., Annotation]) -> None:
    assert (draw_overlay(grey, []) == grey).all()
    empty = np.zeros((240, 320), dtype=np.bool_)
    assert (draw_overlay(grey, [make(1, empty)]) == grey).all()


def test_memory_does_not_grow_with_the_masks(make: Callable[..., Annotation]) -> None:
    size = (600, 800)
    rgb = np.zeros((*size, 3), dtype=np.uint8)
    full = make(1, np.ones(size, dtype=np.bool_))

    def peak(count: int) -> int:
        masks = [
            Annotation(id=i, image_id=1, rle=full.rle, area=full.area, bbox=full.bbox)
            for i in range(count)
        ]
        tracemalloc.start()
        draw_overlay(rgb, masks)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peak(2)
    assert peak(250) < 1.2 * peak(2)


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=60))
@settings(max_examples=40)
def test_a_part_never_looks_like_its_whole(seeds: list[int]) -> None:
    # Parents before children: any forest.
    parents = [seed % (i + 1) - 1 for i, seed in enumerate(seeds)]
    depths: list[int] = []
    for parent in parents:
        depths.append(depths[parent] + 1 if parent >= 0 else 0)
    colours = hierarchy_colours(np.array(parents), np.array(depths)).astype(int)
    for child, parent in enumerate(parents):
        if parent >= 0:
            assert np.abs(colours[child] - colours[parent]).max() > 40


def test_wholes_and_siblings_are_told_apart() -> None:
    for parents in (np.full(12, -1), np.array([-1] + [0] * 12)):
        colours = hierarchy_colours(parents, np.minimum(parents, 0) + 1).astype(int)
        for i in range(len(colours)):
            for j in range(i):
                assert np.abs(colours[i] - colours[j]).max() > 12
