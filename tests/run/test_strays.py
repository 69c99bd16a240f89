"""Annotations whose image is not listed: every command lists them, once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sam_models import make_sam
from support import Invoke

H, W = 96, 128
SQUARE = [[10, 10, 60, 10, 60, 60, 10, 60]]


@pytest.fixture
def folder(scenes: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Masks of two images of `scenes`, and one of an image that is not listed."""
    data: dict[str, list[Any]] = {
        "images": [{"id": i, "file_name": f"{i}.png", "height": H, "width": W} for i in (1, 2)],
        "annotations": [
            {"id": i, "image_id": image, "category_id": 1, "score": 0.5, "segmentation": SQUARE}
            for i, image in enumerate((1, 2, 5), start=11)
        ],
    }
    (scenes / "m.json").write_text(json.dumps(data))
    for one in data["annotations"]:
        one["image_id"] = min(one["image_id"], 2)
    (scenes / "good.json").write_text(json.dumps(data))
    monkeypatch.chdir(scenes)
    return scenes


COMMANDS = {
    "evaluate, the truth": "evaluate m.json good.json",
    "evaluate, predictions": "evaluate good.json m.json",
    "convert": "convert coco m.json",
    "filter": "filter m.json",
    "refine": "refine m.json --images .",
    "merge": "merge --union good.json m.json",
    "divide": "divide --detections m.json",
    "extract-features": "extract-features 1.png 2.png --size 64 --regions m.json",
    "view": "view m.json --images .",
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_strays_are_listed(command: str, folder: Path, invoke: Invoke) -> None:
    words = [*command.split(), "-o", folder / "out"]
    ran = invoke(*words)
    assert ran.exit_code == 65
    assert "belongs to image 5, which is not among the images" in ran.stderr
    ran = invoke(*words, "--on-error", "skip")
    assert ran.exit_code == 3, ran.stderr
    listed = json.loads((folder / "out.errors.jsonl").read_text())
    assert listed["error"] == "its image 5 is not among the images"
    assert (listed["file_name"], listed["annotation_id"]) == ("5", 13)
    assert listed["stage"] == command.split()[0]
    if "--resume" in invoke(words[0], "--help").stdout:
        assert invoke(*words, "--on-error", "skip", "--resume").exit_code == 3
        assert json.loads((folder / "out.errors.jsonl").read_text()) == listed


@pytest.mark.torch
def test_strays_of_prompts_are_listed(folder: Path, invoke: Invoke) -> None:
    make_sam().save_pretrained(folder / "sam")
    words = ["predict", "sam", "--prompts-from", "m.json", "--image-root", ".", "--device", "cpu"]
    ran = invoke(*words, "-o", "out", "--on-error", "skip")
    assert ran.exit_code == 3, ran.stderr
    assert json.loads(Path("out.errors.jsonl").read_text())["file_name"] == "5"


def test_the_first_shard_lists_them(folder: Path, invoke: Invoke) -> None:
    for k, code in ((0, 3), (1, 0)):
        words = ["filter", "m.json", "--on-error", "skip", "--shard", f"{k}/2"]
        assert invoke(*words, "-o", folder / f"{k}.json").exit_code == code
    assert (folder / "0.json.errors.jsonl").exists()
    assert not (folder / "1.json.errors.jsonl").exists()


def test_a_list_of_images_is_read_whatever_the_annotations_are(
    folder: Path, invoke: Invoke
) -> None:
    data = json.loads((folder / "m.json").read_text())
    data["annotations"] += [{"id": [], "image_id": None}, {"id": 11, "image_id": 1}]
    (folder / "m.json").write_text(json.dumps(data))
    ran = invoke("extract-features", "--coco", "m.json", "--size", 64, "-o", folder / "f.h5")
    assert ran.exit_code == 0, ran.stderr
