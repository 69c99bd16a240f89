"""Masks from prompts, and simulated clicks, with known answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_scenes import Scene, box
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from support import Invoke

from unsam_cli.evaluation.clicks import Promptable, clicks_needed, next_click, simulate_clicks
from unsam_cli.evaluation.partial import is_partial, merge_reports


def run(scene: Scene, folder: Path, invoke: Invoke, *extra: object) -> dict[str, Any]:
    ran = invoke("evaluate", *scene.write(folder), "--protocol", "point", "-o", "-", "-q", *extra)
    assert ran.exit_code == 0, ran.stderr
    report: dict[str, Any] = json.loads(ran.stdout)
    return report


def answer(scene: Scene, target: int, mask: Any, score: float, **keys: Any) -> None:
    """Add a mask for a target of image 1 or 2."""
    image = scene.truth[target - 1]["image_id"]
    scene.add_found(image, mask, score, target_id=target, **keys)


@pytest.fixture
def scene() -> Scene:
    """Three targets of 40 x 40 pixels in two images, and a crowd."""
    scene = Scene()
    for _ in range(2):
        scene.image()
    scene.add_truth(1, box(0, 0, 40, 40))
    scene.add_truth(1, box(100, 100, 40, 40))
    scene.add_truth(2, box(0, 0, 40, 40))
    scene.add_truth(2, box(50, 50, 90, 90), iscrowd=1)
    return scene


def test_max_is_the_best_scored_and_oracle_the_best(
    scene: Scene, tmp_path: Path, invoke: Invoke
) -> None:
    answer(scene, 1, box(0, 0, 40, 20), 0.9)  # IoU 0.5
    answer(scene, 1, box(0, 0, 40, 40), 0.8)  # IoU 1
    answer(scene, 2, box(100, 100, 40, 30), 0.3)  # IoU 0.75
    answer(scene, 2, box(100, 100, 40, 10), 0.2)  # IoU 0.25
    answer(scene, 3, box(0, 0, 20, 20), 0.2)  # IoU 0.25
    report = run(scene, tmp_path, invoke)
    assert report["protocol"] == "point"
    assert report["ground_truths"] == 3
    metrics = report["metrics"]
    assert metrics["1-IoU-max"] == pytest.approx((0.5 + 0.75 + 0.25) / 3)
    assert metrics["1-IoU-oracle"] == pytest.approx((1 + 0.75 + 0.25) / 3)
    assert metrics["NoC@80"] is None
    assert metrics["NoC@90"] is None


def test_targets_without_answers_count_as_missed(
    scene: Scene, tmp_path: Path, invoke: Invoke
) -> None:
    answer(scene, 1, box(0, 0, 40, 40), 0.9)
    truth, found = scene.write(tmp_path)
    ran = invoke("evaluate", truth, found, "--protocol", "point")
    assert "2 masks of the ground truth without a prediction" in ran.stderr
    assert "33.33" in ran.stdout
    assert run(scene, tmp_path, invoke)["metrics"]["1-IoU-max"] == pytest.approx(1 / 3)


def test_several_prompts_of_a_target_are_averaged(
    scene: Scene, tmp_path: Path, invoke: Invoke
) -> None:
    for target, mask in ((1, box(0, 0, 40, 40)), (3, box(0, 0, 40, 40))):
        answer(scene, target, mask, 0.5, prompt_id=0)
    answer(scene, 1, box(0, 0, 40, 20), 0.5, prompt_id=1)
    assert run(scene, tmp_path, invoke)["metrics"]["1-IoU-max"] == pytest.approx((0.75 + 0 + 1) / 3)


def test_clicks_are_counted_where_predictions_tell_them(
    scene: Scene, tmp_path: Path, invoke: Invoke
) -> None:
    for clicks, rows in ((1, 20), (2, 34), (3, 38), (4, 10)):  # IoU 0.5, 0.85, 0.95, 0.25
        answer(scene, 1, box(0, 0, 40, rows), 0.5, clicks=clicks)
        answer(scene, 1, box(0, 0, 40, 40), 0.1, clicks=clicks)  # worse scored: does not count
    answer(scene, 2, box(100, 100, 40, 40), 0.5, clicks=1)
    metrics = run(scene, tmp_path, invoke)["metrics"]
    assert metrics["NoC@80"] == pytest.approx((2 + 1 + 20) / 3)
    assert metrics["NoC@90"] == pytest.approx((3 + 1 + 20) / 3)
    assert metrics["1-IoU-max"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert metrics["1-IoU-oracle"] == pytest.approx((1 + 1 + 0) / 3)


@pytest.mark.parametrize(
    "bad",
    [{"target_id": 77}, {"target_id": 2, "segmentation": {"size": [200, 200], "counts": "z"}}],
)
def test_a_bad_answer_costs_only_itself(
    bad: dict[str, Any], scene: Scene, tmp_path: Path, invoke: Invoke
) -> None:
    answer(scene, 1, box(0, 0, 40, 20), 0.9)
    answer(scene, 3, box(0, 0, 40, 40), 0.9)
    wanted = run(scene, tmp_path, invoke)["metrics"]
    answer(scene, 2, box(100, 100, 40, 40), 0.9)
    scene.found[-1] |= bad
    truth, found = scene.write(tmp_path)
    arguments = ("evaluate", truth, found, "--protocol", "point", "-o", tmp_path / "report.json")
    assert invoke(*arguments).exit_code == 65
    ran = invoke(*arguments, "--on-error", "skip")
    assert ran.exit_code == 3, ran.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["predictions"], report["skipped"], report["metrics"]) == (2, 0, wanted)
    listed = json.loads((tmp_path / "report.json.errors.jsonl").read_text())
    assert "record 3" in str(listed["annotation_id"])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "has no target_id"),
        ({"target_id": 3}, "not an annotation of this image"),
        ({"target_id": "x"}, "must be a whole number"),
        ({"target_id": 1, "clicks": 1.5}, "must be a whole number"),
    ],
)
def test_answers_without_a_target_are_refused(
    keys: dict[str, Any], message: str, scene: Scene, tmp_path: Path, invoke: Invoke
) -> None:
    scene.add_found(1, box(0, 0, 40, 40), 0.5, **keys)
    ran = invoke("evaluate", *scene.write(tmp_path), "--protocol", "point", "-q")
    assert ran.exit_code == 65
    assert message in ran.stderr


def test_parts_and_differences(scene: Scene, tmp_path: Path, invoke: Invoke) -> None:
    for target in (1, 2, 3):
        answer(scene, target, scene.truth[target - 1]["segmentation"], 0.5)
    worse = tmp_path / "worse.json"
    worse.write_text(json.dumps(scene.found[:2]))
    truth, found = scene.write(tmp_path)
    common = ("evaluate", truth, found, worse, "--protocol", "point", "--bootstrap", 50, "-q")
    whole = tmp_path / "whole.json"
    assert invoke(*common, "-o", whole).exit_code == 0
    difference = json.loads(whole.read_text())["differences"][0]["metrics"]["1-IoU-max"]
    assert difference["difference"] == pytest.approx(-1 / 3)
    assert difference["low"] == pytest.approx(-1)  # only image 2 was drawn
    assert difference["high"] == 0
    parts = [tmp_path / f"{k}.json" for k in range(2)]
    for k, part in enumerate(parts):
        assert invoke(*common, "--shard", f"{k}/2", "-o", part).exit_code == 0
        assert is_partial(part)
    merge_reports(parts, output=str(tmp_path / "merged.json"))
    assert (tmp_path / "merged.json").read_bytes() == whole.read_bytes()


# Clicks


def disc(x: int, y: int, radius: float, size: int = 64) -> NDArray[np.bool_]:
    ys, xs = np.mgrid[:size, :size]
    return np.asarray((xs - x) ** 2 + (ys - y) ** 2 <= radius**2)


class Scripted:
    """A model that gives one mask after another, and notes what it is asked."""

    def __init__(self, masks: list[NDArray[np.bool_]]) -> None:
        self.masks = masks
        self.points: list[list[int]] = []
        self.labels: list[int] = []

    def set_image(self, image: NDArray[np.uint8]) -> None:
        self.points, self.labels = [], []

    def predict(self, points: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
        self.points, self.labels = points.tolist(), labels.tolist()
        return self.masks[min(len(points), len(self.masks)) - 1]


def test_clicks_go_to_the_middle_of_the_largest_error() -> None:
    target = disc(20, 30, 12)
    small, large = disc(50, 8, 4), disc(48, 48, 10)
    script = [
        target & ~disc(20, 38, 3),  # a hole is missing
        target | small | large,  # too much, twice
        target | small,
        target,
    ]
    model = Scripted(script)
    ious = simulate_clicks(model, target)
    assert model.points == [[20, 30], [20, 38], [48, 48], [50, 8]]
    assert model.labels == [1, 1, 0, 0]
    assert len(ious) == 4
    assert ious[-1] == 1
    n = target.sum()
    assert ious[0] == pytest.approx(1 - disc(20, 38, 3).sum() / n)
    assert ious[2] == pytest.approx(n / (n + small.sum()))
    assert clicks_needed(ious, 0.9) == 1 + int(ious[0] < 0.9)
    assert clicks_needed(ious, 1.0) == 4


def test_a_hopeless_model_gets_twenty_clicks_and_no_pixel_twice() -> None:
    target = disc(30, 30, 9)
    model = Scripted([np.zeros_like(target)])
    ious = simulate_clicks(model, target)
    assert ious.tolist() == [0.0] * 20
    assert len({tuple(p) for p in model.points}) == 20
    assert clicks_needed(ious, 0.8) == clicks_needed(ious, 0.9) == 20


def test_clicking_stops_when_it_is_good_enough() -> None:
    target = disc(30, 30, 9)
    model: Promptable = Scripted([target & disc(30, 28, 8), target])
    assert len(simulate_clicks(model, target, stop=0.5)) == 1
    assert len(simulate_clicks(model, target, max_clicks=1)) == 1


def test_the_border_of_the_image_is_a_border() -> None:
    target = np.zeros((20, 30), dtype=bool)
    target[:, :10] = True
    click = next_click(target, np.zeros_like(target))
    assert click is not None
    assert click[0] in (4, 5)
    assert click[2] == 1
    assert next_click(target, target) is None


@given(st.integers(0, 2**32 - 1))
def test_clicks_are_in_the_error_with_the_right_label(seed: int) -> None:
    rng = np.random.default_rng(seed)
    target, mask = rng.random((2, 9, 13)) < 0.5
    click = next_click(target, mask)
    if click is None:
        assert (target == mask).all()
    else:
        x, y, label = click
        assert target[y, x] != mask[y, x]
        assert target[y, x] == label
