"""divide as a user runs it: features, or detections, in, masks out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from support import Invoke, draw_scene

from unsam_cli.rle import decode


def test_defaults_from_environment_and_config(scenes: Path, invoke: Invoke, tmp_path: Path) -> None:
    config = tmp_path / "unsam.toml"
    config.write_text("[divide]\ntau = 0.3\nmax-masks = 2\n[conquer]\nmin-patches = 9\n")
    features = tmp_path / "f.h5"
    invoke("extract-features", scenes, "--size", 256, "-o", features)

    def options(*arguments: str, **env: str) -> dict[str, Any]:
        ran = invoke("divide", features, "--config", config, *arguments, **env)
        assert ran.exit_code == 0, ran.stderr
        step: dict[str, Any] = json.loads(ran.stdout)["info"]["unsam"]["history"][-1]
        return dict(step["options"])

    assert (options()["tau"], options()["max-masks"]) == (0.3, 2)
    assert options(UNSAM_DIVIDE_TAU="0.4")["tau"] == 0.4
    assert options("--tau", "0.5", UNSAM_DIVIDE_TAU="0.4")["tau"] == 0.5
    assert options(UNSAM_DIVIDE_MIN_SCORE="0.9") == options()  # without --detections
    config.write_text("[divide]\ntua = 1\n")
    ran = invoke("divide", features, "--config", config)
    assert ran.exit_code == 2
    assert "no option 'tua'" in ran.stderr


@pytest.mark.parametrize("kind", ["coco", "results", "ndjson"])
def test_output_formats(kind: str, scenes: Path, invoke: Invoke, tmp_path: Path) -> None:
    invoke("extract-features", scenes, "--size", 256, "-o", tmp_path / "f.h5")
    ran = invoke("divide", tmp_path / "f.h5", "--format", kind)
    if kind == "ndjson":
        annotations = [json.loads(line) for line in ran.stdout.splitlines()]
    else:
        whole = json.loads(ran.stdout)
        annotations = whole if kind == "results" else whole["annotations"]
    assert len(annotations) >= 5
    assert {"image_id", "category_id", "segmentation", "score"} <= annotations[0].keys()


def test_detections_instead_of_cuts(scenes: Path, invoke: Invoke, tmp_path: Path) -> None:
    truth = np.zeros((96, 128), np.uint8, order="F")
    truth[10:40, 20:60] = 1
    rle = coco_mask.encode(truth)
    rle["counts"] = rle["counts"].decode()
    results = [
        {"image_id": 2, "category_id": 1, "segmentation": rle, "score": score}
        for score in (0.9, 0.2)
    ]
    (tmp_path / "results.json").write_text(json.dumps(results))
    invoke("extract-features", scenes, "--size", 256, "-o", tmp_path / "f.h5")
    ran = invoke("divide", tmp_path / "f.h5", "--detections", tmp_path / "results.json")
    assert ran.exit_code == 0, ran.stderr
    masks = json.loads(ran.stdout)
    assert [(a["image_id"], a["score"], a["area"]) for a in masks["annotations"]] == [
        (2, 0.9, 1200)
    ]
    assert len(masks["images"]) == 5
    ran = invoke("divide", "--detections", tmp_path / "results.json")
    assert ran.exit_code == 65
    assert "lists no images" in ran.stderr


def test_crf_is_the_last_step_of_maskcut(scenes: Path, invoke: Invoke, tmp_path: Path) -> None:
    features = tmp_path / "f.h5"
    invoke("extract-features", scenes / "1.png", "-o", features)

    def best(refine: str) -> float:
        """Return the IoU with the disc of the mask that is most like it."""
        ran = invoke("divide", features, "--refine", refine)
        assert ran.exit_code == 0, ran.stderr
        assert ("divide: " in ran.stderr and "refined masks kept" in ran.stderr) == (
            refine == "crf"
        )
        y, x = np.indices((96, 128))
        disc = (y - 38.4) ** 2 + (x - 32) ** 2 < 26.9**2
        masks = [
            decode({"size": [96, 128], "counts": a["segmentation"]["counts"].encode()})
            for a in json.loads(ran.stdout)["annotations"]
        ]
        return max(float((m & disc).sum() / (m | disc).sum()) for m in masks)

    assert best("crf") > max(best("none"), 0.9)


@pytest.mark.parametrize("change", ["size", "name"])
def test_detections_of_other_images_are_refused(
    change: str, scenes: Path, invoke: Invoke, tmp_path: Path
) -> None:
    from PIL import Image

    features, masks = tmp_path / "f.h5", tmp_path / "d.json"
    invoke("extract-features", scenes, "--size", 256, "-o", features)
    invoke("divide", features, "-o", masks)
    if change == "size":
        Image.fromarray(draw_scene(0, height=90)).save(scenes / "1.png")
    else:
        (scenes / "1.png").rename(scenes / "10.png")
    invoke("extract-features", scenes, "--size", 256, "-o", features)
    ran = invoke("divide", features, "--detections", masks, "-o", tmp_path / "out.json")
    assert ran.exit_code == 65
    said = {"size": "1.png: mask 0: size 96x128", "name": "image 1 is 1.png there and 10.png here"}
    assert said[change] in ran.stderr


def test_a_list_of_results_cannot_be_resumed(scenes: Path, invoke: Invoke, tmp_path: Path) -> None:
    out = tmp_path / "d.ndjson"
    invoke("extract-features", scenes, "--size", 256, "-o", tmp_path / "f.h5")
    divide = ["divide", tmp_path / "f.h5", "--format", "ndjson", "-o", out]
    assert invoke(*divide).exit_code == 0
    before = out.read_bytes()
    ran = invoke(*divide, "--resume")
    assert ran.exit_code == 2
    assert "use --format coco" in ran.stderr
    assert out.read_bytes() == before
