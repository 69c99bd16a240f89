"""Resampled metrics equal those of a list in which images are repeated."""

from __future__ import annotations

import numpy as np
import pytest
from coco_scenes import random_scene, sets_of
from numpy.typing import NDArray

from unsam_cli.evaluation.bootstrap import compare, masks_draw
from unsam_cli.evaluation.matches import Matches
from unsam_cli.evaluation.matching import candidates, match
from unsam_cli.evaluation.metrics import measure

MAX_DETS = (1, 10, 1000)


def matches_of(seed: int) -> list[Matches]:
    scene = random_scene(seed, images=5, scores=10**9)  # no ties: copies of an image would mix
    return [match(candidates(*sets_of(scene, image["id"]))) for image in scene.images]


@pytest.mark.parametrize("weights", [[1, 1, 1, 1, 1], [0, 3, 0, 1, 1], [2, 0, 0, 0, 3]])
def test_weights_equal_repetition(weights: list[int]) -> None:
    images = matches_of(2)
    repeated = [m for m, w in zip(images, weights, strict=True) for _ in range(w)]
    drawn = masks_draw([images], MAX_DETS)(np.array(weights))[0]
    for name, value in measure(repeated, MAX_DETS).items():
        assert drawn[name] == pytest.approx(np.nan if value is None else value, nan_ok=True), name


def test_the_interval_is_that_of_the_draws() -> None:
    values = np.arange(10.0)

    def draw(weights: NDArray[np.int64]) -> list[dict[str, float]]:
        mean = float(weights @ values) / 10
        return [{"m": 0.0}, {"m": mean}]

    (found,) = compare([{"m": 0.0}, {"m": 4.5}], draw, images=10, repeats=4000, seed=1)
    error = values.std() / np.sqrt(10)
    assert found["m"]["difference"] == 4.5
    assert found["m"]["low"] == pytest.approx(4.5 - 1.96 * error, abs=0.15)
    assert found["m"]["high"] == pytest.approx(4.5 + 1.96 * error, abs=0.15)
