"""Tiles: where they lie, and masks joined across their borders."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from segmenters import ColourSegmenter

from unsam_cli.found_masks import FoundMasks
from unsam_cli.prediction import tiles
from unsam_cli.prediction.masks import Masks
from unsam_cli.prediction.predict import predict_image
from unsam_cli.prediction.settings import PredictSettings
from unsam_cli.prediction.views import View, plan_views, see
from unsam_cli.rle import decode, encode, encode_window

pytestmark = pytest.mark.torch

GREEN, RED, BLUE, YELLOW = (40, 160, 40), (200, 30, 30), (30, 30, 200), (230, 220, 40)
PINK, WHITE = (240, 120, 200), (250, 250, 250)
BoolArray = NDArray[np.bool_]


def views(height: int, width: int, tile: int, overlap: int) -> list[View]:
    settings = PredictSettings(tile=tile, overlap=overlap)
    return plan_views(height, width, settings, short=64, longest=128, multiple=32)


@pytest.mark.parametrize(
    ("height", "width", "tile", "overlap"),
    [(300, 400, 128, 48), (129, 128, 128, 1), (100, 1000, 128, 127), (257, 300, 96, 30)],
)
def test_tiles_cover_the_image_and_overlap(
    height: int, width: int, tile: int, overlap: int
) -> None:
    whole, *found = views(height, width, tile, overlap)
    assert (whole.x, whole.y, whole.width, whole.height) == (0, 0, width, height)
    covered = np.zeros((height, width), dtype=int)
    for view in found:
        assert view.inner == (view.height, view.width) == (min(tile, height), min(tile, width))
        assert view.padded == (-(-view.height // 32) * 32, -(-view.width // 32) * 32)
        covered[view.y : view.y + view.height, view.x : view.x + view.width] += 1
    assert covered.shape == (height, width)
    assert covered.min() >= 1
    for starts, side in [({v.x for v in found}, width), ({v.y for v in found}, height)]:
        at = sorted(starts)
        assert at[-1] + min(tile, side) == side
        assert all(b - a <= tile - overlap for a, b in pairwise(at))
        assert len(at) == 1 + max(0, -(-(side - tile) // (tile - overlap)))


def test_what_fits_into_a_tile_has_none() -> None:
    assert len(views(128, 100, 128, 32)) == 1
    rgb = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    view = View(7, 9, 32, 20, (20, 32), (32, 32))
    np.testing.assert_array_equal(see(rgb, view), rgb[9:29, 7:39])


def test_short_sides_are_padded_to_the_least() -> None:
    settings = PredictSettings()
    (view,) = plan_views(50, 400, settings, short=64, longest=128, multiple=32, least=100)
    assert (view.inner, view.padded) == ((16, 128), (128, 128))


def disc(y: int, x: int, r: int, size: tuple[int, int] = (300, 400)) -> BoolArray:
    rows, columns = np.ogrid[: size[0], : size[1]]
    inside: BoolArray = (rows - y) ** 2 + (columns - x) ** 2 < r * r
    return inside


def iou_with(found: FoundMasks, truth: BoolArray) -> list[float]:
    masks = [decode(mask.rle) for mask in found]
    return sorted(((m & truth).sum() / (m | truth).sum() for m in masks), reverse=True)


def test_masks_are_joined_across_borders() -> None:
    shapes = {
        RED: disc(140, 150, 60),  # in many tiles
        BLUE: disc(40, 340, 25),
        YELLOW: disc(250, 92, 14),  # within an overlap
        PINK: np.zeros((300, 400), dtype=bool),
    }
    shapes[PINK][215:225, 20:380] = True  # a bar across all columns of tiles
    rgb = np.full((300, 400, 3), GREEN, dtype=np.uint8)
    for colour, shape in shapes.items():
        rgb[shape] = colour
    background = (rgb == GREEN).all(axis=2)
    segmenter = ColourSegmenter([GREEN, *shapes, WHITE])
    found = predict_image(segmenter, rgb, PredictSettings(tile=128, overlap=48))
    assert segmenter.calls[0] == (1, 3, 64, 96)
    assert segmenter.calls[1:] == [(1, 3, 128, 128)] * (4 * 5)
    for truth in [background, *shapes.values()]:
        best, second, *_ = iou_with(found, truth)
        assert best > 0.9
        assert second < 0.2  # once, and no piece of it
    assert len(found) == 5
    assert (np.diff(found.score) <= 0).all()


def test_large_things_come_from_the_whole_image_where_tiles_fail() -> None:
    class Whole(ColourSegmenter):
        """Finds nothing in tiles."""

        def predict(self, pixels):  # type: ignore[no-untyped-def]
            made = super().predict(pixels)
            if len(self.calls) > 1:
                made.features.fill_(-1)
            return made

    rgb = np.full((300, 400, 3), GREEN, dtype=np.uint8)
    large, small = disc(140, 150, 60), disc(40, 340, 20)
    rgb[large], rgb[small] = RED, BLUE
    found = predict_image(Whole([RED, BLUE]), rgb, PredictSettings(tile=128, overlap=48))
    assert len(found) == 1
    assert iou_with(found, large)[0] > 0.8


SIZE = (40, 100)
PLAN = [
    View(0, 0, 100, 40, (40, 100), (64, 128)),
    View(0, 0, 60, 40, (40, 60), (64, 64)),
    View(40, 0, 60, 40, (40, 60), (64, 64)),
]


def box(x: int, y: int, w: int, h: int) -> BoolArray:
    mask = np.zeros(SIZE, dtype=bool)
    mask[y : y + h, x : x + w] = True
    return mask


def made(*masks: tuple[BoolArray, float]) -> Masks:
    scores = np.array([score for _, score in masks], dtype=np.float64)
    return Masks([encode(mask) for mask, _ in masks], scores)


def joined(whole: Masks, left: Masks, right: Masks) -> list[tuple[BoolArray, float]]:
    parts = [whole, left, right]
    masks, pieces = tiles.join(parts, PLAN, SIZE, 20)
    scores = np.concatenate([part.scores for part in parts])
    for score, one in zip(masks.scores, pieces, strict=True):
        assert scores[one].min() - 1e-9 <= score <= scores[one].max() + 1e-9
    return list(zip(map(decode, masks.rles), masks.scores.tolist(), strict=True))


def test_pieces_that_agree_are_one_with_their_mean_score() -> None:
    [(mask, score)] = joined(
        made(), made((box(30, 5, 30, 10), 0.9)), made((box(40, 5, 40, 10), 0.5))
    )
    np.testing.assert_array_equal(mask, box(30, 5, 50, 10))
    assert score == pytest.approx((300 * 0.9 + 400 * 0.5) / 700)


def test_pieces_cut_off_are_dropped_and_whole_ones_stay() -> None:
    cut, whole = box(50, 5, 10, 10), box(45, 20, 14, 10)
    at_the_end_of_the_image = box(90, 0, 10, 40)
    found = joined(made(), made((cut, 0.9), (whole, 0.8)), made((at_the_end_of_the_image, 0.7)))
    assert [score for _, score in found] == [0.8, 0.7]


def test_each_piece_has_one_counterpart_the_best() -> None:
    left = made((box(30, 5, 30, 20), 0.9), (box(30, 5, 30, 14), 0.8))
    right = made((box(40, 5, 30, 14), 0.7), (box(40, 5, 30, 19), 0.6))
    found = joined(made(), left, right)
    assert len(found) == 2
    assert {int(mask.sum()) for mask, _ in found} == {40 * 14, 30 * 20 + 10 * 19}


def test_the_whole_image_adds_what_is_large_and_not_found_in_tiles() -> None:
    known, large, small = box(5, 5, 30, 10), box(0, 20, 100, 15), box(70, 5, 15, 10)
    nearly = box(5, 5, 30, 11)
    found = joined(made((large, 0.5), (nearly, 0.9), (small, 0.8)), made((known, 0.6)), made())
    assert [score for _, score in found] == [0.6, 0.5]


def test_no_masks_at_all() -> None:
    assert joined(made(), made(), made()) == []


def test_masks_of_a_tile_lie_where_the_tile_does() -> None:
    rgb = np.full((200, 260, 3), GREEN, dtype=np.uint8)
    rgb[150:180, 200:240] = RED
    [mask] = predict_image(ColourSegmenter([RED]), rgb, PredictSettings(tile=128, overlap=64))
    truth = encode_window(np.ones((30, 40), dtype=bool), 200, 150, (200, 260))
    overlap = (decode(mask.rle) & decode(truth)).sum()
    assert overlap / decode(truth).sum() > 0.95
