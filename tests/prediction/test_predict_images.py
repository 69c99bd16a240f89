"""Many images: order, threads, batches, errors, memory."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from segmenters import RandomSegmenter

from unsam_cli.errors import ImageFileError, UnsamError
from unsam_cli.found_masks import FoundMasks
from unsam_cli.io import images, segments, windows
from unsam_cli.io.images import read_image
from unsam_cli.models.predictions import Predictions
from unsam_cli.prediction import masks, reading
from unsam_cli.prediction.pipeline import predict_images
from unsam_cli.prediction.predict import Input, Predictor, predict_image
from unsam_cli.prediction.settings import PredictSettings
from unsam_cli.run.parallel import ItemError

pytestmark = pytest.mark.torch


@dataclass(frozen=True)
class Photo:
    path: Path


@pytest.fixture
def photos(tmp_path: Path) -> list[Photo]:
    sizes = [(40, 60), (60, 40), (40, 60), (30, 30), (44, 60), (50, 75), (60, 40)]
    rng = np.random.default_rng(0)
    for i, size in enumerate(sizes):
        image = Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8))
        image.save(tmp_path / f"{i}.png")
    return [Photo(tmp_path / f"{i}.png") for i in range(len(sizes))]


def keep(item: Photo, found: FoundMasks) -> FoundMasks:
    return found


def same(a: FoundMasks | UnsamError, b: FoundMasks) -> bool:
    assert isinstance(a, FoundMasks), a
    return a.score.tolist() == b.score.tolist() and a.table.to_rles() == b.table.to_rles()


@pytest.mark.parametrize("tile", [None, 32])
@pytest.mark.parametrize(("jobs", "batch_size", "slice_bytes"), [(1, 1, 2**25), (3, 5, 2000)])
def test_results_come_in_order_and_depend_on_the_image_alone(
    photos: list[Photo],
    tile: int | None,
    jobs: int,
    batch_size: int,
    slice_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(masks, "_SLICE", slice_bytes)
    settings = PredictSettings(tile=tile, batch_size=batch_size)
    found = list(predict_images(photos, Predictor(RandomSegmenter(), settings), keep, jobs=jobs))
    assert [item for item, _ in found] == photos
    for item, result in found:
        alone = predict_image(RandomSegmenter(), read_image(item.path), settings)
        assert len(alone) > 5
        assert same(result, alone)


@pytest.mark.parametrize(("jobs", "batch_size"), [(1, 1), (3, 5)])
def test_large_pictures_are_read_tile_by_tile(
    photos: list[Photo], jobs: int, batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = PredictSettings(tile=32, batch_size=batch_size)
    wanted = [predict_image(RandomSegmenter(), read_image(one.path), settings) for one in photos]
    monkeypatch.setattr(segments, "LARGE", 1000)
    whole, read, most = images.whole_image, 0, 0

    def decoded(path: Path) -> Image.Image:
        nonlocal read
        read += 1
        return whole(path)

    made: list[weakref.ref[Input]] = []

    def counted(*args: Any) -> Input:
        nonlocal most
        one = Input(*args)
        made.append(weakref.ref(one))
        most = max(most, sum(ref() is not None for ref in made))
        return one

    monkeypatch.setattr(reading, "Input", counted)
    monkeypatch.setattr(windows, "whole_image", decoded)
    found = list(predict_images(photos, Accelerator(RandomSegmenter(), settings), keep, jobs=jobs))
    for (_, result), expected in zip(found, wanted, strict=True):
        assert same(result, expected)
    assert len(photos) - 1 <= read <= 2 * len(photos)  # one is small
    assert len(made) > 2 * most
    assert most <= batch_size + 1


def test_a_large_picture_that_is_damaged_does_not_stop_others(
    photos: list[Photo], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "LARGE", 1000)
    photos[2].path.write_bytes(photos[2].path.read_bytes()[:3000])
    predictor = Accelerator(RandomSegmenter(), PredictSettings(tile=32, batch_size=4))
    found = list(predict_images(photos, predictor, keep, jobs=2))
    assert [item for item, _ in found] == photos
    assert [isinstance(result, FoundMasks) for _, result in found] == [i != 2 for i in range(7)]
    assert isinstance(found[2][1], ImageFileError)


class Accelerator(Predictor):
    """Claims to be no CPU."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.device = torch.device("meta")

    def forward(self, inputs: Any) -> Predictions:
        self.device = torch.device("cpu")
        return super().forward(inputs)


def test_batches_of_an_accelerator_hold_inputs_of_one_size(photos: list[Photo]) -> None:
    segmenter = RandomSegmenter()
    predictor = Accelerator(segmenter, PredictSettings(batch_size=3))
    found = list(predict_images(photos, predictor, keep, jobs=2))
    # 64 x 96 are images 0, 2, 4 and 5, of which no three come within three images.
    wide, high, square = (3, 64, 96), (3, 96, 64), (3, 64, 64)
    assert segmenter.calls == [(2, *wide), (1, *high), (1, *square), (2, *wide), (1, *high)]
    for item, result in found:
        assert same(result, predict_image(RandomSegmenter(), read_image(item.path)))


def test_errors_come_in_place(photos: list[Photo], tmp_path: Path) -> None:
    class Failing(RandomSegmenter):
        def predict(self, pixels: torch.Tensor) -> Predictions:
            if pixels.shape[2] == pixels.shape[3]:
                raise RuntimeError("shapes do not match")
            return super().predict(pixels)

    damaged = Photo(tmp_path / "damaged.png")
    damaged.path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(30))
    items = [photos[0], damaged, *photos[1:]]
    found = list(predict_images(items, Predictor(Failing(), PredictSettings()), keep, jobs=2))
    assert [item for item, _ in found] == items
    kinds = [type(result) for _, result in found]
    assert (
        kinds == [FoundMasks, ImageFileError, FoundMasks, FoundMasks, ItemError] + [FoundMasks] * 3
    )
    assert "shapes do not match" in str(found[4][1])


def test_only_some_images_are_under_way_and_threads_end(photos: list[Photo]) -> None:
    taken = 0

    def endless() -> Iterator[Photo]:
        nonlocal taken
        while True:
            taken += 1
            yield photos[0]

    results = predict_images(
        endless(), Predictor(RandomSegmenter(), PredictSettings()), keep, jobs=2
    )
    for _ in range(10):
        next(results)
    assert taken <= 10 + 1 + 3
    results.close()  # type: ignore[attr-defined]
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and [
        t for t in threading.enumerate() if t.name.startswith(("predict", "network"))
    ]:
        time.sleep(0.01)
    assert not [t for t in threading.enumerate() if t.name.startswith(("predict", "network"))]


def test_logits_that_wait_are_few(photos: list[Photo], monkeypatch: pytest.MonkeyPatch) -> None:
    alive = most = 0
    lock = threading.Lock()
    draw, cut = masks.draw, masks.slices

    def counting(*args: Any) -> Iterator[masks.Slice]:
        nonlocal alive, most
        for part in cut(*args):
            with lock:
                alive += 1
                most = max(most, alive)
            yield part

    def slow(*args: Any) -> masks.Masks:
        nonlocal alive
        time.sleep(0.005)
        result = draw(*args)
        with lock:
            alive -= 1
        return result

    monkeypatch.setattr(masks, "_SLICE", 1)  # a slice for each mask
    monkeypatch.setattr("unsam_cli.prediction.pipeline.slices", counting)
    monkeypatch.setattr("unsam_cli.prediction.pipeline.draw", slow)
    list(predict_images(photos, Predictor(RandomSegmenter(), PredictSettings()), keep, jobs=2))
    assert 2 <= most <= 2 + 2
