"""Tiles of a large image and a promptable model, here one that sees things by their colour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from sam_models import make_sam

from unsam_cli.io import segments
from unsam_cli.io.windows import Windows, open_windows
from unsam_cli.prediction.prompted import tiled
from unsam_cli.prediction.prompted.settings import PromptedSettings
from unsam_cli.prediction.settings import TileSettings
from unsam_cli.rle import boxes, decode, encode
from unsam_cli.sam.automatic import AutomaticMasks
from unsam_cli.sam.model import PromptableModel
from unsam_cli.sam.session import Answer
from unsam_cli.sam.settings import AutomaticConfig, Prompt

pytestmark = pytest.mark.torch

SIZE = (60, 200)
TILES = TileSettings(tile=80, overlap=20)  # at x = 0, 60 and 120
DISC, BAND, LEFT = 1, 2, 3
PLACES = {DISC: (slice(5, 15), slice(62, 78)), BAND: (slice(40, 50), slice(0, 200)),
          LEFT: (slice(20, 30), slice(10, 30))}  # fmt: skip


@pytest.fixture
def image() -> npt.NDArray[np.uint8]:
    image = np.zeros((*SIZE, 3), np.uint8)
    for colour, place in PLACES.items():
        image[place] = colour
    return image


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Replace the model: sizes of the images that it was given."""
    sizes: list[tuple[int, int]] = []

    class ByColour:
        """Answers a click with all pixels of its colour, and with the pixel itself."""

        def __init__(self, model: Any) -> None:
            pass

        def set_image(self, image: npt.NDArray[np.uint8]) -> None:
            self.image = image
            sizes.append((image.shape[0], image.shape[1]))

        def ask(self, prompts: Sequence[Prompt]) -> list[Answer]:
            return [self._answer(*map(int, prompt.points[0])) for prompt in prompts]

        def _answer(self, x: int, y: int) -> Answer:
            mask = (self.image == self.image[y, x]).all(axis=2)
            dot = np.zeros_like(mask)
            dot[y, x] = True
            score = 0.9 if self.image.shape[:2] == SIZE else 0.8
            return Answer([encode(mask), encode(dot)], np.array([score, score / 2], np.float32))

    def all_of(model: Any, image: Any, config: Any, *, granularity: Any) -> AutomaticMasks:
        sizes.append((image.shape[0], image.shape[1]))
        masks = [(image == colour).all(axis=2) for colour in PLACES]
        masks = [mask for mask in masks if mask.any()]
        rles = [encode(mask) for mask in masks]
        points = np.array([np.argwhere(mask)[0][::-1] for mask in masks], float).reshape(-1, 2)
        n, shape = len(masks), np.array([0, 0, image.shape[1], image.shape[0]])
        return AutomaticMasks(
            *(rles, boxes(rles), np.linspace(0.5, 0.9, n, dtype=np.float32)),
            *(np.full(n, 0.95, np.float32), points, np.tile(shape, (n, 1))),
        )

    monkeypatch.setattr(tiled, "Session", ByColour)
    monkeypatch.setattr(tiled, "automatic_masks", all_of)
    return sizes


def ask(image: npt.NDArray[np.uint8], *points: tuple[float, float]) -> list[Answer]:
    session = tiled.TiledSession(None, TILES)  # type: ignore[arg-type]
    session.set_image(image)
    return session.ask([Prompt((point,), (1,)) for point in points])


def thing(colour: int) -> npt.NDArray[np.bool_]:
    mask = np.zeros(SIZE, bool)
    mask[PLACES[colour]] = True
    return mask


def test_a_click_is_answered_from_the_tile_around_it(
    image: npt.NDArray[np.uint8], seen: list[tuple[int, int]]
) -> None:
    disc, left = ask(image, (68.0, 10.0), (12.0, 22.0))
    np.testing.assert_array_equal(decode(disc.rles[0]), thing(DISC))
    np.testing.assert_array_equal(decode(left.rles[0]), thing(LEFT))
    assert np.argwhere(decode(left.rles[1])).tolist() == [[22, 12]]
    assert seen == [(60, 80)]  # one tile contains both, and is encoded once
    assert disc.scores.tolist() == pytest.approx([0.8, 0.4])


def test_a_mask_that_a_tile_cuts_comes_from_the_whole_image(
    image: npt.NDArray[np.uint8], seen: list[tuple[int, int]]
) -> None:
    disc, band = ask(image, (68.0, 10.0), (100.0, 45.0))
    np.testing.assert_array_equal(decode(disc.rles[0]), thing(DISC))
    np.testing.assert_array_equal(decode(band.rles[0]), thing(BAND))
    assert seen[-1] == SIZE
    assert band.scores.tolist() == pytest.approx([0.9, 0.4])  # the dot is whole in its tile


def test_prompts_that_fit_into_no_tile_are_answered_from_the_whole_image(
    image: npt.NDArray[np.uint8], seen: list[tuple[int, int]]
) -> None:
    session = tiled.TiledSession(None, TILES)  # type: ignore[arg-type]
    session.set_image(image)
    wide = Prompt(((5.0, 45.0), (190.0, 45.0)), (1, 1))
    boxed = Prompt(((64.0, 8.0),), (1,), box=(10.0, 2.0, 150.0, 20.0))
    assert [one.scores[0] for one in session.ask([wide, boxed])] == pytest.approx([0.9, 0.9])
    assert seen == [SIZE]


def test_the_search_joins_the_masks_of_tiles(
    image: npt.NDArray[np.uint8], seen: list[tuple[int, int]]
) -> None:
    found = tiled.search(None, image, PromptedSettings(tiles=TILES))  # type: ignore[arg-type]
    assert seen == [SIZE, (60, 80), (60, 80), (60, 80)]
    masks = [decode(rle) for rle in found.rles]
    for colour in PLACES:
        assert sum(np.array_equal(mask, thing(colour)) for mask in masks) == 1
    assert len(found) == 3
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    assert found.stability == pytest.approx(0.95)
    for mask, (x, y) in zip(masks, found.points.astype(int).tolist(), strict=True):
        assert mask[y, x]


def test_an_image_that_fits_into_a_tile_is_searched_once(
    image: npt.NDArray[np.uint8], seen: list[tuple[int, int]]
) -> None:
    settings = PromptedSettings(tiles=TileSettings(tile=200), max_masks=2)
    found = tiled.search(None, image, settings)  # type: ignore[arg-type]
    assert seen == [SIZE]
    assert found.scores.tolist() == pytest.approx([0.9, 0.7])


def test_large_pictures_are_read_tile_by_tile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (120, 200, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", tile=(16, 16))
    model = PromptableModel(make_sam()).eval()
    search = AutomaticConfig(3, -9, 0, nms_iou=1, nms="mask")
    settings = PromptedSettings(tiles=TILES, automatic=search)
    prompts = [Prompt(((x, 60.0),), (1,)) for x in (20.0, 100.0, 199.0)]
    found = []
    for large in (10**9, 2000):
        monkeypatch.setattr(segments, "LARGE", large)
        picture = open_windows(tmp_path / "a.tif")
        assert isinstance(picture, Windows) == (large < 10**9)
        session = tiled.TiledSession(model, TILES)
        session.set_image(picture)
        answers = session.ask(prompts)
        found.append((answers, tiled.search(model, picture, settings)))
    (answers, masks), (lazy_answers, lazy_masks) = found
    assert len(masks) > 5
    assert lazy_masks.rles == masks.rles
    assert [one.rles for one in lazy_answers] == [one.rles for one in answers]
