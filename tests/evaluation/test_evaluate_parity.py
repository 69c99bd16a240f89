"""The numbers are those of pycocotools, to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from coco_scenes import Scene, box, oracle, random_scene

from unsam_cli.evaluation.settings import EvaluateSettings
from unsam_cli.evaluation.sinks import EvaluateOutputs
from unsam_cli.evaluation.stage import evaluate
from unsam_cli.run.provenance import Step
from unsam_cli.run.settings import RunSettings


def measure(scene: Scene, folder: Path, **settings: Any) -> dict[str, Any]:
    truth, found = scene.write(folder)
    how = EvaluateSettings(**settings)
    return report_of(truth, found, how)


def report_of(truth: Path, found: Path, how: EvaluateSettings, *, jobs: int = 2) -> dict[str, Any]:
    run = RunSettings(Step("evaluate"), jobs=jobs)
    report, _ = evaluate(str(truth), [str(found)], how, run, EvaluateOutputs())
    assert report is not None
    return report


def small_large() -> Scene:
    scene = Scene()
    image = scene.image()
    for side, at in ((32, 0), (96, 100)):  # 1024 and 9216 pixels: in two ranges each
        scene.add_truth(image, box(at, at, side, side))
        scene.add_found(image, box(at, at, side, side - 1), 0.9)
        scene.add_found(image, box(at, at, side, side), 0.8)
    scene.add_found(image, box(150, 10, 33, 31), 0.95)  # unmatched, small
    scene.add_found(image, box(150, 10, 32, 32), 0.97)  # unmatched, on the border
    return scene


def crowds() -> Scene:
    scene = Scene()
    image, other = scene.image(), scene.image()
    scene.add_truth(image, box(0, 0, 100, 100), iscrowd=1)
    scene.add_truth(image, box(10, 10, 30, 30))
    for i in range(5):
        scene.add_found(image, box(5 + i, 5 + i, 30, 30), 0.5)
        scene.add_found(image, box(60, 60, 20 + i, 20), 0.6)
    scene.add_truth(other, {"size": [200, 200], "counts": [0, 4000, 36000]}, iscrowd=1)
    scene.add_found(other, box(0, 0, 19, 100), 0.7)
    return scene


def ties() -> Scene:
    scene = Scene()
    for _ in range(3):
        image = scene.image()
        scene.add_truth(image, box(0, 0, 40, 40), category_id=2)
        scene.add_truth(image, box(0, 0, 40, 40), category_id=1)
        scene.add_truth(image, box(20, 0, 40, 40), category_id=1)
        for mask in (box(10, 0, 40, 40), box(0, 0, 40, 40), box(0, 0, 40, 40), box(20, 0, 40, 40)):
            scene.add_found(image, mask, 0.5)
    return scene


def polygons() -> Scene:
    scene = Scene()
    image = scene.image()
    shape = [[10.5, 10.0, 90.2, 12.0, 80.0, 95.5, 15.0, 88.0], [120, 120, 150, 120, 150, 160.5]]
    scene.add_truth(image, shape)
    scene.add_truth(image, shape[1:])
    scene.add_found(image, box(12, 11, 72, 80), 0.9)
    scene.add_found(image, [[118.0, 120.0, 150.0, 119.0, 151.0, 160.0]], 0.4)
    return scene


def nothing_found() -> Scene:
    scene = Scene()
    scene.add_truth(scene.image(), box(0, 0, 50, 50))
    scene.add_truth(scene.image(), box(0, 0, 50, 50))
    scene.add_found(1, box(100, 100, 50, 50), 0.5)
    return scene


def zero_area() -> Scene:
    scene = Scene()
    image = scene.image()
    scene.add_truth(image, box(0, 0, 0, 0))
    scene.add_truth(image, box(0, 0, 20, 20))
    scene.add_found(image, box(0, 0, 0, 0), 0.9)
    scene.add_found(image, box(0, 0, 20, 20), 0.5)
    return scene


def empty_images() -> Scene:
    scene = Scene()
    for i in range(6):
        image = scene.image()
        if i % 2:
            scene.add_truth(image, box(i, i, 60, 60))
        if i % 3:
            scene.add_found(image, box(i, i, 60, 55), 0.1 * i)
    return scene


def first_right_then_wrong() -> Scene:
    """Where precision 1 / (1 + eps) is not hidden by better precision later."""
    scene = Scene()
    image = scene.image()
    scene.add_truth(image, box(0, 0, 50, 50))
    scene.add_truth(image, box(100, 100, 50, 50))
    scene.add_found(image, box(0, 0, 50, 50), 0.9)
    scene.add_found(image, box(0, 100, 50, 50), 0.8)
    return scene


def odd_scores() -> Scene:
    scene = random_scene(99)
    for i, entry in enumerate(scene.found):
        entry["score"] = [-1.5, 0, 1e-300, 7, 0.1 + 0.2, 0.3][i % 6]
    return scene


NASTY: list[Callable[[], Scene]] = [
    small_large,
    crowds,
    ties,
    polygons,
    nothing_found,
    empty_images,
    first_right_then_wrong,
    odd_scores,
]


@pytest.mark.parametrize("make", NASTY, ids=lambda make: make.__name__)
def test_nasty_scenes_as_pycocotools(make: Callable[[], Scene], tmp_path: Path) -> None:
    scene = make()
    assert measure(scene, tmp_path)["metrics"] == oracle(scene)


def test_ground_truth_without_pixels_does_not_count(tmp_path: Path) -> None:
    scene = zero_area()
    del scene.truth[0]
    expected = oracle(scene)
    assert measure(zero_area(), tmp_path)["metrics"] == expected
    assert expected["AR@100"] == 1


@pytest.mark.parametrize("seed", range(12))
def test_random_scenes_as_pycocotools(seed: int, tmp_path: Path) -> None:
    scene = random_scene(seed)
    assert measure(scene, tmp_path)["metrics"] == oracle(scene)


@pytest.mark.parametrize("max_dets", [(1,), (2, 5), (3, 100)])
def test_any_list_of_max_dets(max_dets: tuple[int, ...], tmp_path: Path) -> None:
    scene = random_scene(5, images=6)
    assert measure(scene, tmp_path, max_dets=max_dets)["metrics"] == oracle(scene, max_dets)


def test_more_than_a_thousand_predictions(tmp_path: Path) -> None:
    scene = Scene()
    image = scene.image()
    for i in range(8):
        scene.add_truth(image, box(20 * i, 20 * i, 30, 30))
    for i in range(1300):
        side = 20 + i % 17
        scene.add_found(image, box(i % 150, (7 * i) % 150, side, side), float(i % 50))
    report = measure(scene, tmp_path)
    assert report["metrics"] == oracle(scene)
    assert report["predictions"] == 1300


def test_boxes_in_predictions_change_nothing(tmp_path: Path) -> None:
    scene = random_scene(3)
    before = measure(scene, tmp_path)["metrics"]
    for entry in scene.found:
        entry |= {"bbox": [0, 0, 199, 199], "area": 5}
    assert measure(scene, tmp_path)["metrics"] == before == oracle(scene)


def test_an_annotation_with_id_zero_can_be_found(tmp_path: Path) -> None:
    # pycocotools takes a match with annotation 0 for none.
    scene = Scene()
    scene.add_found(scene.image(), box(0, 0, 50, 50), 0.5)
    scene.add_truth(1, box(0, 0, 50, 50), id=0)
    assert measure(scene, tmp_path)["metrics"]["AR@1"] == 1.0


def test_categories_play_no_part(tmp_path: Path) -> None:
    scene = Scene()
    scene.add_found(scene.image(), box(0, 0, 50, 50), 0.5, category_id=77)
    scene.add_truth(1, box(0, 0, 50, 50), category_id=3)
    assert measure(scene, tmp_path)["metrics"]["AP"] == pytest.approx(1)


def test_jobs_change_nothing(tmp_path: Path) -> None:
    scene = random_scene(11, images=20)
    truth, found = scene.write(tmp_path)
    one, four = (report_of(truth, found, EvaluateSettings(), jobs=jobs) for jobs in (1, 4))
    assert one == four
    assert one["metrics"] == oracle(scene)
