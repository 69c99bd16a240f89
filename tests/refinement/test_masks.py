"""Which refined masks are kept."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from large_pictures import Rectangles
from numpy.typing import NDArray
from support import draw_scene

from unsam_cli.errors import UsageError
from unsam_cli.io.windows import Pixels
from unsam_cli.refinement import guided_masks
from unsam_cli.refinement.guided import GuidedFilter
from unsam_cli.refinement.guided_masks import EPS, radii, refine_guided
from unsam_cli.refinement.masks import MapFunctor, accept, filled, refine_masks
from unsam_cli.refinement.methods import create_refiner
from unsam_cli.refinement.settings import RefineSettings
from unsam_cli.rle import Rle, RunTable, decode, encode

SIZE = (20, 30)


def box(*window: int) -> Rle:
    top, bottom, left, right = window
    mask = np.zeros(SIZE, bool)
    mask[top:bottom, left:right] = True
    return encode(mask)


NOTHING, EVERYTHING = box(0, 0, 0, 0), box(0, 20, 0, 30)


def test_every_reason_is_counted_once() -> None:
    pairs = [
        (box(0, 10, 0, 10), box(0, 10, 0, 12)),  # IoU 0.83
        (NOTHING, NOTHING),
        (box(0, 10, 0, 10), NOTHING),
        (box(0, 20, 0, 27), box(0, 20, 0, 29)),  # 0.97 of the image
        (box(0, 10, 0, 10), box(0, 10, 0, 4)),  # IoU 0.4
        (box(0, 10, 0, 10), box(0, 10, 0, 5)),  # IoU 0.5
    ]
    before, after = zip(*pairs, strict=True)
    table = RunTable.from_rles(before)
    refined = accept(table, list(after), RefineSettings(max_area=0.9))
    assert refined.kept.tolist() == [0, 5]
    assert refined.table.to_rles() == [after[0], after[5]]
    assert refined.dropped == Counter(
        {"empty": 1, "refined to nothing": 1, "too large": 1, "changed too much": 1}
    )
    assert accept(table, list(after), RefineSettings(min_iou=0)).kept.tolist() == [0, 3, 4, 5]


def test_masks_without_a_border_are_not_refined() -> None:
    def refiner(picture: Pixels, masks: RunTable, *, mapper: MapFunctor = map) -> list[Rle]:
        assert masks.areas.tolist() == [100]
        return [box(0, 10, 0, 9)]

    table = RunTable.from_rles([EVERYTHING, box(0, 10, 0, 10), NOTHING])
    refined = refine_masks(draw_scene(0, *SIZE), table, RefineSettings(), refiner)
    assert refined.table.to_rles() == [EVERYTHING, box(0, 10, 0, 9)]
    assert refined.dropped == {"empty": 1}
    none = RunTable.from_rles([], size=SIZE)
    assert len(refine_masks(draw_scene(0, *SIZE), none, RefineSettings(), refine_guided).kept) == 0


def test_a_picture_of_another_size_refines_masks_of_the_image() -> None:
    size = (96, 128)
    y, x = np.indices(size) // 8 * 8
    disc = (y - 38) ** 2 + (x - 32) ** 2 < 27**2
    table = RunTable.from_rles([encode(disc)])
    refined = refine_masks(draw_scene(0, 192, 256), table, RefineSettings(), refine_guided)
    assert refined.table.size == size
    y, x = np.indices(size)
    truth = (y - 38.4) ** 2 + (x - 32) ** 2 < 26.9**2

    def iou(mask: NDArray[np.bool_]) -> float:
        return float((mask & truth).sum() / (mask | truth).sum())

    assert iou(decode(refined.table.rle(0))) > iou(disc) + 0.02


@pytest.mark.parametrize("window", [(0, 9, 0, 9), (30, 40, 50, 70), (80, 96, 100, 128)])
def test_the_window_of_a_mask_is_filtered_as_the_whole(window: tuple[int, ...]) -> None:
    picture = draw_scene(0)
    top, bottom, left, right = window
    mask = np.zeros(picture.shape[:2], bool)
    mask[top:bottom, left:right] = True
    table = RunTable.from_rles([encode(mask)])
    guided = GuidedFilter(picture, int(radii(table, 3)[0]), EPS)
    assert refine_guided(picture, table) == [encode(guided.filter(mask) > 0.5)]


@pytest.mark.parametrize("side", [64, 2048])
def test_of_a_large_picture_only_what_is_near_borders_is_read(
    side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guided_masks, "LARGE_TILE", side)
    scene = draw_scene(1, 400, 500)
    rng, masks = np.random.default_rng(0), []
    for top, bottom, left, right in [(20, 380, 30, 480), (80, 110, 100, 130), (0, 9, 0, 300)]:
        mask = np.zeros((400, 500), bool)
        mask[top:bottom, left:right] = rng.random((bottom - top, right - left)) < 0.999
        masks.append(mask)
    table = RunTable.from_rles([encode(mask) for mask in masks])
    picture = Rectangles(scene)
    wanted, found = refine_guided(scene, table), refine_guided(picture, table)
    assert wanted != table.to_rles()
    for a, b in zip(map(decode, wanted), map(decode, found), strict=True):
        assert (a != b).sum() <= 3
    if side == 64:
        clean = RunTable.from_rles([encode(np.pad(np.ones((200, 200), bool), 100))])
        picture = Rectangles(np.zeros((400, 400, 3), np.uint8))
        monkeypatch.setattr(guided_masks, "WIDEST", 1 / 100)
        [same] = refine_guided(picture, clean)
        assert (decode(same) != decode(clean.rle(0))).sum() < 100
        assert not any(x <= 200 < x + w and y <= 200 < y + h for x, y, w, h in picture.boxes)


def test_thin_masks_get_a_small_box() -> None:
    line, square = box(0, 20, 4, 8), box(2, 18, 0, 16)
    assert radii(RunTable.from_rles([line, square]), 12).tolist() == [1, 4]
    assert radii(RunTable.from_rles([square]), 3).tolist() == [3]


def test_holes_are_filled_up_to_the_border_of_the_image() -> None:
    mask = np.zeros(SIZE, bool)
    mask[2:18, 2:20] = True
    mask[5:8, 5:8] = mask[10, 2:6] = False  # a hole, and a bay
    whole = mask.copy()
    whole[5:8, 5:8] = True
    assert filled(encode(mask)) == encode(whole)
    assert filled(NOTHING) == NOTHING


def test_a_method_without_a_function_is_refused() -> None:
    """A method that is declared, but not created, is not taken for another one."""
    settings = RefineSettings()
    object.__setattr__(settings, "method", "median")
    with pytest.raises(UsageError, match="method is 'median'"):
        create_refiner(settings)
