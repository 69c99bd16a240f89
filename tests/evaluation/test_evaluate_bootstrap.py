"""Resampled metrics equal those of a list in which images are repeated; clusters are exact."""

from __future__ import annotations

import numpy as np
import pytest
from coco_scenes import random_scene
from numpy.typing import NDArray
from pycocotools import mask as cocomask

from unsam_cli.evaluation.bootstrap import compare, masks_draw
from unsam_cli.evaluation.engine import match, problem
from unsam_cli.evaluation.matches import Matches
from unsam_cli.evaluation.metrics import measure
from unsam_cli.evaluation.sets import PredictionSet, TruthSet
from unsam_cli.rle import RunTable

MAX_DETS = (1, 10, 1000)


def sets_of(seed: int) -> list[tuple[TruthSet, PredictionSet]]:
    scene = random_scene(seed, images=5, scores=10**9)  # no ties: copies of an image would mix
    pairs = []
    for image in scene.images:
        truth = [a for a in scene.truth if a["image_id"] == image["id"]]
        found = [a for a in scene.found if a["image_id"] == image["id"]]
        found.sort(key=lambda a: -float(a["score"]))
        tables = [
            RunTable.from_rles([a["segmentation"] for a in rows], size=(200, 200))
            for rows in (truth, found)
        ]
        pairs.append(
            (
                TruthSet(
                    rles=[a["segmentation"] for a in truth],
                    table=tables[0],
                    areas=np.array([a["area"] for a in truth], dtype=np.float64),
                    crowd=np.array([a["iscrowd"] for a in truth], dtype=bool),
                    values=[None] * len(truth),
                ),
                PredictionSet(
                    rles=[a["segmentation"] for a in found],
                    table=tables[1],
                    scores=np.array([a["score"] for a in found], dtype=np.float64),
                    total=len(found),
                    category_zero=0,
                ),
            )
        )
    return pairs


def matches_of(seed: int) -> list[Matches]:
    return match([problem(truth, found) for truth, found in sets_of(seed)])


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


@pytest.mark.parametrize("seed", range(4))
def test_clusters_hold_all_pairs_that_can_match(seed: int) -> None:
    for truth, found in sets_of(seed):
        crowd = truth.crowd.astype(int).tolist()
        ious = np.zeros((len(found.rles), len(truth.rles)))
        if ious.size:
            ious = cocomask.iou(found.rles, truth.rles, crowd)
        expected = {(i, j) for i, j in np.argwhere(ious >= 0.5).tolist()}
        clusters = problem(truth, found).clusters
        joined = {(int(i), int(j)) for left, right in clusters for i in left for j in right}
        assert expected <= joined
        for side in (0, 1):
            members = [i for cluster in clusters for i in cluster[side].tolist()]
            assert len(members) == len(set(members))
            assert set(members) == {pair[side] for pair in expected}
