"""Many images: order, batches, errors, memory, and results that never change."""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from unsam_cli.backbones import Backbone, create_backbone
from unsam_cli.errors import DataError, ImageFileError, MissingInputError, UnsamError
from unsam_cli.extraction.meter import Meter
from unsam_cli.extraction.pipeline import extract
from unsam_cli.extraction.plan import Regions
from unsam_cli.extraction.settings import ExtractSettings, PlanSettings
from unsam_cli.io.images import read_image
from unsam_cli.io.previews import decode_preview
from unsam_cli.io.resizing import resize
from unsam_cli.rle import Rle, encode_window
from unsam_cli.run.feature_sink import FeatureResult
from unsam_cli.run.parallel import ItemError

PATCH = 8


@dataclass(frozen=True)
class Photo:
    path: Path


class MeanBackbone:
    """Features are the mean colours of patches; notes how it was called."""

    name, weights, facet, layer, patch_size, dim = "mean", "none", "token", 0, PATCH, 3
    frame = None

    def __init__(self, *, threadsafe: bool = False, scale: float = 1.0) -> None:
        self.threadsafe = threadsafe
        self.scale = scale
        self.shapes: list[tuple[int, ...]] = []
        self.threads: set[int] = set()

    def extract(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.shapes.append(images.shape)
        self.threads.add(threading.get_ident())
        b, h, w, _ = images.shape
        patches = images.reshape(b, h // PATCH, PATCH, w // PATCH, PATCH, 3)
        means: NDArray[np.float32] = patches.mean(axis=(2, 4), dtype=np.float32)
        return means * np.float32(self.scale)

    def flops(self, height: int, width: int) -> float:
        return float(height * width)


def save_photo(folder: Path, index: int, height: int, width: int) -> Photo:
    rgb = np.random.default_rng(index).integers(0, 256, (height, width, 3), dtype=np.uint8)
    path = folder / f"{index}.png"
    Image.fromarray(rgb).save(path)
    return Photo(path)


def box_mask(x: int, y: int, w: int, h: int, size: tuple[int, int]) -> Rle:
    return encode_window(np.ones((h, w), dtype=bool), x, y, size=size)


@pytest.fixture
def photos(tmp_path: Path) -> list[Photo]:
    sizes = [(40, 60), (60, 40), (40, 60), (30, 30), (40, 60), (50, 75), (60, 40)]
    return [save_photo(tmp_path, i, h, w) for i, (h, w) in enumerate(sizes)]


def settings(**options: Any) -> ExtractSettings:
    plan = PlanSettings(size=64, region_size=32, whole_image=options.pop("whole_image", False))
    return ExtractSettings(plan=plan, **options)


def run(photos: Sequence[Photo], backbone: Backbone, **options: Any) -> list[FeatureResult]:
    results = []
    regions = options.pop("regions", None)
    how = {key: options.pop(key) for key in ("jobs", "batch_size") if key in options}
    pairs = list(extract(photos, backbone, settings(**options), regions=regions, **how))
    assert [item for item, _ in pairs] == list(photos)
    for _, result in pairs:
        assert isinstance(result, FeatureResult), result
        results.append(result)
    return results


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_a_tile_is_its_crop_at_the_size_of_a_whole_image(tmp_path: Path, kind: str) -> None:
    """A large JPEG is decoded at less than its size, in which a tile is still in its place."""
    y, x = np.mgrid[:2400, :2400]
    rgb = np.stack([x // 10, y // 10, 0 * x], axis=2).astype(np.uint8)
    path = tmp_path / f"large.{kind}"
    Image.fromarray(rgb).save(path)
    plan = ExtractSettings(plan=PlanSettings(size=64, tile="1600", overlap=0))
    [(_, result)] = extract([Photo(path)], MeanBackbone(threadsafe=True), plan)
    assert isinstance(result, FeatureResult)
    boxes = [(x, y, 1600, 1600) for y in (0, 800) for x in (0, 800)]
    assert [record.bbox for record in result.records] == [(0, 0, 2400, 2400), *boxes]
    for record in result.records:
        x0, y0, side, _ = record.bbox
        middle = record.features[3:5, 3:5].mean(axis=(0, 1))
        expected = [(x0 + side / 2) / 10, (y0 + side / 2) / 10, 0]
        assert middle == pytest.approx(expected, abs=1.5)


def three_regions(photo: Photo) -> Regions:
    h, w, _ = read_image(photo.path).shape
    boxes = [(0, 0, 9, 11), (5, 5, 20, 10), (3, 2, 1, 1)]
    return [(box_mask(*box, (h, w)), 0.5) for box in boxes]


def test_empty_masks_are_told_image_by_image(
    photos: list[Photo], caplog: pytest.LogCaptureFixture
) -> None:
    def regions(photo: Photo) -> Regions:
        h, w, _ = read_image(photo.path).shape
        empty = encode_window(np.zeros((1, 1), dtype=bool), 0, 0, size=(h, w))
        return [(empty, 1.0), *three_regions(photo), (empty, 1.0)]

    for result in run(photos[:2], MeanBackbone(threadsafe=True), regions=regions):
        assert len(result.records) == 3
    told = sorted(record.getMessage() for record in caplog.records)
    assert told == [f"{photo.path}: 2 masks without a pixel, no record" for photo in photos[:2]]


@pytest.mark.parametrize("threadsafe", [False, True])
def test_a_record_is_its_crop_resized(photos: list[Photo], threadsafe: bool) -> None:
    backbone = MeanBackbone(threadsafe=threadsafe)
    results = run(photos, backbone, regions=three_regions, whole_image=True, jobs=2)
    for photo, result in zip(photos, results, strict=True):
        rgb = read_image(photo.path)
        h, w, _ = rgb.shape
        assert (result.height, result.width) == (h, w)
        assert decode_preview(result.preview).shape == (h, w, 3)
        boxes = [(0, 0, w, h), (0, 0, 9, 11), (5, 5, 20, 10), (3, 2, 1, 1)]
        assert [r.bbox for r in result.records] == boxes
        assert [r.rle is None for r in result.records] == [True, False, False, False]
        assert [r.score for r in result.records] == [1.0, 0.5, 0.5, 0.5]
        for record, (x, y, bw, bh) in zip(result.records, boxes, strict=True):
            rows, columns, _ = record.features.shape
            crop = resize(rgb[y : y + bh, x : x + bw], (rows * PATCH, columns * PATCH))
            expected = MeanBackbone().extract(crop[None])[0]
            assert record.features.dtype == np.float16
            np.testing.assert_array_equal(record.features, expected.astype(np.float16))
        assert [r.features.shape for r in result.records[1:]] == [(4, 4, 3)] * 3


def same(a: list[FeatureResult], b: list[FeatureResult]) -> bool:
    return all(
        x.preview == y.preview
        and len(x.records) == len(y.records)
        and all(
            p.features.tobytes() == q.features.tobytes()
            for p, q in zip(x.records, y.records, strict=True)
        )
        for x, y in zip(a, b, strict=True)
    )


@pytest.mark.parametrize("kind", ["builtin", pytest.param("test_vit", marks=pytest.mark.torch)])
def test_results_depend_neither_on_jobs_nor_on_batches(photos: list[Photo], kind: str) -> None:
    weights = None if kind == "builtin" else "random"
    backbone = create_backbone(kind, weights=weights, device="cpu")
    options = {"regions": three_regions, "whole_image": True, "rank": 16}
    first = run(photos, backbone, **options, jobs=1, batch_size=1)
    assert first[0].records[0].features.shape[2] == 16
    for jobs, batch_size in [(3, 1), (1, 5), (4, 64)]:
        assert same(run(photos, backbone, **options, jobs=jobs, batch_size=batch_size), first)


def test_batches_run_across_images_and_regions_and_never_vary(photos: list[Photo]) -> None:
    calls = []
    for jobs in (1, 4, 4):
        backbone = MeanBackbone()
        run(photos, backbone, regions=three_regions, jobs=jobs, batch_size=6)
        assert len(backbone.threads) == 1
        calls.append(backbone.shapes)
    # 7 images of 3 regions, all crops of one size
    assert calls[0] == [(6, 32, 32, 3)] * 3 + [(3, 32, 32, 3)]
    assert calls[1] == calls[2] == calls[0]


def test_a_rare_size_does_not_wait_for_ever(photos: list[Photo]) -> None:
    backbone = MeanBackbone()
    pairs = extract(iter(photos), backbone, settings(), batch_size=2)
    next(pairs)
    item, _ = next(pairs)
    assert item == photos[1]
    pairs.close()  # type: ignore[attr-defined]


def test_a_threadsafe_backbone_works_in_the_pool(photos: list[Photo]) -> None:
    backbone = MeanBackbone(threadsafe=True)
    run(photos, backbone, jobs=3)
    assert threading.get_ident() not in backbone.threads
    assert {shape[0] for shape in backbone.shapes} == {1}


@pytest.mark.parametrize("threadsafe", [False, True])
def test_errors_come_in_place(photos: list[Photo], tmp_path: Path, threadsafe: bool) -> None:
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(30))
    items = [photos[0], Photo(tmp_path / "none.png"), photos[1], Photo(damaged), *photos[2:4]]

    def regions(photo: Photo) -> Regions | None:
        if photo == photos[2]:
            return [(box_mask(0, 0, 2, 2, (999, 999)), 1.0)]
        if photo == photos[3]:
            raise RuntimeError("nobody foresaw this")
        return None

    backbone = MeanBackbone(threadsafe=threadsafe)
    pairs = list(extract(items, backbone, settings(), jobs=2, batch_size=3, regions=regions))
    kinds = [type(result) for _, result in pairs]
    assert kinds == [
        FeatureResult,
        MissingInputError,
        FeatureResult,
        ImageFileError,
        ImageFileError,
        ItemError,
    ]
    assert [item for item, _ in pairs] == items
    assert "RuntimeError: nobody foresaw this" in str(pairs[-1][1])


@pytest.mark.parametrize("threadsafe", [False, True])
def test_a_failing_network_is_an_error_of_its_images(
    photos: list[Photo], threadsafe: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = MeanBackbone(threadsafe=threadsafe)
    compute = backbone.extract

    def fail_on_squares(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        if images.shape[1] == images.shape[2]:
            raise RuntimeError("out of memory")
        return compute(images)

    monkeypatch.setattr(backbone, "extract", fail_on_squares)
    results = [r for _, r in extract(photos, backbone, settings(), jobs=2)]
    failed = [i for i, r in enumerate(results) if isinstance(r, UnsamError)]
    assert failed == [3]
    assert "out of memory" in str(results[3])


def test_features_that_cannot_be_stored_are_refused(photos: list[Photo]) -> None:
    def only(backbone: Backbone, dtype: str) -> FeatureResult | UnsamError:
        [(_, result)] = extract(photos[:1], backbone, settings(storage_dtype=dtype))
        return result

    large = only(MeanBackbone(scale=1e4), "float16")
    assert isinstance(large, DataError)
    assert "--storage-dtype float32" in str(large)
    assert isinstance(only(MeanBackbone(scale=1e4), "float32"), FeatureResult)
    assert isinstance(only(MeanBackbone(scale=float("nan")), "float32"), DataError)


@pytest.mark.parametrize("threadsafe", [False, True])
def test_only_a_window_of_images_is_under_way(tmp_path: Path, threadsafe: bool) -> None:
    photo = save_photo(tmp_path, 0, 16, 16)
    taken = 0

    def endless() -> Iterator[Photo]:
        nonlocal taken
        while True:
            taken += 1
            yield photo

    backbone = MeanBackbone(threadsafe=threadsafe)
    results = extract(endless(), backbone, settings(), jobs=2, batch_size=4)
    for _ in range(20):
        next(results)
    assert taken <= 20 + 4 + 2 * 2 + 1
    results.close()  # type: ignore[attr-defined]
    left = [t.name for t in threading.enumerate() if t.name.startswith(("extract", "network"))]
    deadline = time.monotonic() + 5
    while left and time.monotonic() < deadline:
        time.sleep(0.01)
        left = [t.name for t in threading.enumerate() if t.name.startswith(("extract", "network"))]
    assert left == []


def test_images_without_regions_and_no_images_at_all(photos: list[Photo]) -> None:
    results = run(photos, MeanBackbone(), regions=lambda _: [])
    assert all(len(r.records) == 0 for r in results)
    assert run([], MeanBackbone()) == []


@pytest.mark.parametrize("threadsafe", [False, True])
def test_the_meter_counts_what_was_computed(photos: list[Photo], threadsafe: bool) -> None:
    meter = Meter()
    backbone = MeanBackbone(threadsafe=threadsafe)
    list(extract(photos, backbone, settings(), jobs=2, regions=three_regions, meter=meter))
    assert meter.crops == 3 * len(photos)
    assert meter.flops == 3 * len(photos) * 32 * 32
    assert meter.seconds > 0
    assert meter.fraction_of(meter.flops / meter.seconds) == pytest.approx(1)


def test_large_jpegs_keep_their_original_size(tmp_path: Path) -> None:
    rgb = np.full((1500, 3000, 3), 90, dtype=np.uint8)
    path = tmp_path / "large.jpg"
    Image.fromarray(rgb).save(path)
    [result] = run([Photo(path)], MeanBackbone())
    assert (result.height, result.width) == (1500, 3000)
    assert result.records[0].bbox == (0, 0, 3000, 1500)
    assert result.records[0].features.shape == (4, 8, 3)
    assert np.allclose(result.records[0].features, 90, atol=2)
    assert decode_preview(result.preview).shape == (320, 640, 3)
