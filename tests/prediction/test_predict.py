"""One image: equal to the naive way, and every choice among masks."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from segmenters import ColourSegmenter, RandomSegmenter, segment_naively

from unsam_cli.errors import UsageError
from unsam_cli.found_masks import FoundMasks
from unsam_cli.models.predictions import Predictions
from unsam_cli.prediction import masks
from unsam_cli.prediction.predict import Input, Predictor, predict_image
from unsam_cli.prediction.settings import PredictSettings
from unsam_cli.rle import Axis, decode, encode, encode_window, iou

pytestmark = pytest.mark.torch

Naive = tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.int64]]


def photo(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Draw smooth noise, so that masks have large regions and small ones."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(-(-height // 8), -(-width // 8), 3)).repeat(8, 0).repeat(8, 1)
    noise = coarse[:height, :width] * 60 + rng.normal(size=(height, width, 3)) * 25 + 120
    return np.clip(noise, 0, 255).astype(np.uint8)


def assert_naive(found: FoundMasks, naive: Naive) -> None:
    expected, scores, _ = naive
    filled = expected.any(axis=(1, 2))
    expected, scores = expected[filled], scores[filled]
    order = np.argsort(-scores, kind="stable")
    assert len(found) == len(order) > 0
    np.testing.assert_allclose(found.score, scores[order], atol=1e-6, rtol=0)
    for mask, i in zip(found, order, strict=True):
        np.testing.assert_array_equal(decode(mask.rle), expected[i])
        assert (mask.stage, mask.level) == ("predict", None)


@pytest.mark.parametrize(
    ("height", "width"),
    [(90, 133), (64, 64), (133, 90), (40, 300), (33, 31), (500, 301), (5, 4), (1, 1)],
)
def test_equal_to_the_naive_way_bit_for_bit(height: int, width: int) -> None:
    segmenter, rgb = RandomSegmenter(), photo(height, width)
    rgb.flags.writeable = False  # as Pillow's are
    assert_naive(predict_image(segmenter, rgb), segment_naively(segmenter, rgb, 64, 128))


def test_equal_to_the_naive_way_in_small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter, rgb = RandomSegmenter(), photo(90, 133)
    whole = predict_image(segmenter, rgb)
    monkeypatch.setattr(masks, "_SLICE", 3 * 4 * 16 * 24)
    assert_naive(predict_image(segmenter, rgb), segment_naively(segmenter, rgb, 64, 128))
    np.testing.assert_array_equal(whole.score, predict_image(segmenter, rgb).score)


def drawn(predictions: Predictions, predictor: Predictor, one: Input) -> list[NDArray[np.bool_]]:
    """Masks of all queries, those that are empty, too."""
    found = []
    for part in masks.slices(predictions, 0, predictor.settings):
        (rle,) = masks.draw(part, one.view, one.size).rles or [encode(np.zeros(one.size, bool))]
        found.append(decode(rle))
    return found


@pytest.mark.parametrize(("height", "width"), [(90, 133), (64, 64), (500, 301)])
def test_masks_in_windows_are_those_of_whole_maps(
    height: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masks, "_SLICE", 1)
    monkeypatch.setattr(masks, "_DRAWN", 1)
    predictor = Predictor(RandomSegmenter(), PredictSettings())
    (one,) = predictor.prepare(photo(height, width))
    whole = predictor.forward([one])
    (h, w), n = whole.features.shape[2:], whole.embeddings.shape[2]
    sides = np.random.default_rng(0).integers(0, [w + 1, h + 1], (2, n, 2))
    windows = np.concatenate((sides.min(0), sides.max(0)), -1)
    windows[0], windows[1] = (0, 0, w, h), (3, 3, 3, 9)
    part = dataclasses.replace(whole, windows=torch.from_numpy(windows)[None])
    view = one.view
    rows, columns = (
        Axis.of(n, m, through=through)
        for n, m, through in (
            (h, height, (view.padded[0], view.inner[0])),
            (w, width, (view.padded[1], view.inner[1])),
        )
    )
    pairs = zip(drawn(part, predictor, one), drawn(whole, predictor, one), strict=True)
    for i, (found, expected) in enumerate(pairs):
        x0, y0, x1, y1 = windows[i]
        inside = np.ix_(
            (rows.low >= y0) & (rows.high < y1), (columns.low >= x0) & (columns.high < x1)
        )
        np.testing.assert_array_equal(found[inside], expected[inside])
        assert not (found & ~expected).any()
        assert not found[:, (columns.high < x0) | (columns.low >= x1)].any()
        assert i != 0 or (np.array_equal(found, expected) and found.any())
        assert i != 1 or not found.any()


def test_the_best_queries_are_chosen_before_masks_are_made() -> None:
    segmenter, rgb = RandomSegmenter(queries=50), photo(60, 80)
    settings = PredictSettings(max_masks=7)
    expected = segment_naively(segmenter, rgb, 64, 128, most=7)
    assert_naive(predict_image(segmenter, rgb, settings), expected)


def test_one_query_and_none() -> None:
    segmenter, rgb = RandomSegmenter(queries=1, seed=3), photo(50, 70)
    assert_naive(predict_image(segmenter, rgb), segment_naively(segmenter, rgb, 64, 128))
    none = predict_image(segmenter, rgb, PredictSettings(score_window=(0.0, 1e-6)))
    assert len(none) == 0
    assert none.table.size == (50, 70)


def test_empty_masks_are_dropped() -> None:
    red, blue = (200, 20, 20), (20, 20, 200)
    rgb = np.full((40, 60, 3), red, dtype=np.uint8)
    [mask] = predict_image(ColourSegmenter([blue, red]), rgb)
    assert decode(mask.rle).all()


def test_the_size_of_the_input_can_be_chosen() -> None:
    segmenter, rgb = RandomSegmenter(), photo(90, 133)
    found = predict_image(segmenter, rgb, PredictSettings(size=(96, 110)))
    assert segmenter.calls == [(1, 3, 96, 128)]  # 74 x 110, padded
    assert_naive(found, segment_naively(segmenter, rgb, 96, 110))


def test_a_window_of_class_scores() -> None:
    segmenter, rgb = RandomSegmenter(), photo(90, 133)
    every, scores, queries = segment_naively(segmenter, rgb, 64, 128)
    classes = np.empty(len(queries), dtype=np.float32)
    classes[queries] = segmenter.class_logits.softmax(-1)[:, 0].numpy()[queries]
    low, high = sorted(classes.tolist())[5], sorted(classes.tolist())[12]
    inside = (classes[queries] > low) & (classes[queries] <= high)
    assert inside.sum() == 7
    found = predict_image(segmenter, rgb, PredictSettings(score_window=(low, high)))
    assert_naive(found, (every[inside], scores[inside], queries[inside]))


def test_a_least_score() -> None:
    segmenter, rgb = RandomSegmenter(), photo(90, 133)
    every = predict_image(segmenter, rgb)
    least = float(every.score[8])
    found = predict_image(segmenter, rgb, PredictSettings(min_score=least))
    assert found.score.tolist() == every.score[:9].tolist()


def test_suppression_of_duplicates() -> None:
    segmenter, rgb = RandomSegmenter(queries=60), photo(90, 133)
    every = predict_image(segmenter, rgb)
    kept: list[int] = []
    for i, mask in enumerate(every):
        if not kept or iou([mask.rle], [every[k].rle for k in kept]).max() <= 0.4:
            kept.append(i)
    assert 1 < len(kept) < len(every)
    found = predict_image(segmenter, rgb, PredictSettings(nms=0.4))
    assert [mask.rle for mask in found] == [every[i].rle for i in kept]


def test_of_equal_scores_the_first_query_comes_first() -> None:
    logits = torch.tensor([[0.0, 0], [1, 0], [1, 0], [2, 0], [1, 0]])
    chosen, scores = masks.choose(logits, PredictSettings(max_masks=3))
    assert chosen.tolist() == [1, 2, 3]
    assert scores == pytest.approx(logits.softmax(-1)[1:4, 0])
    boxes = [encode_window(np.ones((2, 2), bool), 3 * i, 0, (8, 12)) for i in range(4)]
    made = masks.Masks(boxes, np.array([0.5, 0.7, 0.5, 0.5]))
    predictor = Predictor(RandomSegmenter(), PredictSettings())
    found = predictor.finish(predictor.prepare(photo(8, 12)), [[made]])
    assert [mask.rle for mask in found] == [boxes[i] for i in (1, 0, 2, 3)]


def test_half_precision_runs_and_finds_the_same() -> None:
    segmenter, rgb = ColourSegmenter([(200, 20, 20)]), photo(64, 96)
    rgb[10:50, 20:70] = (200, 20, 20)
    exact = predict_image(segmenter, rgb)
    rough = predict_image(segmenter, rgb, PredictSettings(dtype="bfloat16"))
    assert iou([exact[0].rle], [rough[0].rle]) > 0.95


def test_predictions_of_half_precision_are_taken() -> None:
    class Half(RandomSegmenter):
        def predict(self, pixels: torch.Tensor) -> Predictions:
            made = super().predict(pixels)
            return dataclasses.replace(
                made, features=made.features.bfloat16(), embeddings=made.embeddings.bfloat16()
            )

    rgb = photo(64, 96)
    assert len(predict_image(Half(), rgb)) == len(predict_image(RandomSegmenter(), rgb))


@pytest.mark.parametrize(
    "wrong",
    [
        {"score_window": (0.5, 0.5)},
        {"size": (100, 50)},
        {"size": (0, 50)},
        {"overlap": 5},
        {"tile": 64, "overlap": 64},
        {"tile": 3},
    ],
)
def test_settings_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        PredictSettings(**wrong)
