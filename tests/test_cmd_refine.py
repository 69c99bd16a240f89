"""refine as a user runs it: masks and their photographs in, refined masks out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support import Invoke

from unsam_cli.rle import decode, encode

NAMES = {3: "1.png", 5: "2.png", 8: "more/5.png"}


def disc(seed: int, side: int) -> NDArray[np.bool_]:
    """Return the disc of a scene, in steps of `side` pixels."""
    y, x = np.indices((96, 128)) // side * side + (side - 1) / 2
    inside: NDArray[np.bool_] = (y - 38.4) ** 2 + (x - 32 - 2.56 * seed) ** 2 < 26.9**2
    return inside


def annotation(i: int, image: int, mask: NDArray[np.bool_], **more: object) -> dict[str, Any]:
    rle = encode(mask)
    segmentation = {**rle, "counts": rle["counts"].decode()}
    return {"id": i, "image_id": image, "category_id": 4, "segmentation": segmentation, **more}


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    """Return masks of three scenes: coarse discs, and what is odd."""
    part = disc(0, 8)
    part[:, 40:] = False
    crowd = np.ones((96, 128), bool)
    annotations = [
        annotation(70, 3, disc(0, 8), score=0.5, stage="conquer", level=0.3, colour="red"),
        annotation(20, 3, part, parent_id=None, granularity=0.7),
        annotation(31, 3, crowd, iscrowd=1, area=17),
        annotation(12, 3, np.zeros((96, 128), bool)),
        annotation(9, 5, disc(1, 8)),
    ]
    images = [{"id": i, "file_name": name, "height": 96, "width": 128} for i, name in NAMES.items()]
    path = tmp_path / "masks.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": []}))
    return path


@pytest.mark.parametrize("method", ["guided", "crf"])
def test_masks_fit_better_and_keep_what_is_said_of_them(
    method: str, masks: Path, scenes: Path, invoke: Invoke
) -> None:
    ran = invoke("refine", masks, "--images", scenes, "--method", method)
    assert ran.exit_code == 0, ran.stderr
    assert "refine: 3 of 4 refined masks kept; dropped: 1 empty" in ran.stderr
    written = json.loads(ran.stdout)
    whole, part, crowd, other = written["annotations"]
    assert [a["id"] for a in written["annotations"]] == [70, 20, 31, 9]
    above = 70 if method == "guided" else None  # of one colour with its whole, the part grows
    assert [a["parent_id"] for a in written["annotations"]] == [None, above, None, None]
    assert (whole["score"], whole["stage"], whole["level"]) == (0.5, "conquer", 0.3)
    assert (whole["colour"], whole["granularity"]) == ("red", 1.0)
    assert part["granularity"] == (0.1 if method == "guided" else 1.0)
    assert "score" not in part
    assert (crowd["iscrowd"], crowd["area"]) == (1, 96 * 128)
    assert [image["id"] for image in written["images"]] == list(NAMES)
    for seed, found in ((0, whole), (1, other)):
        truth, after = disc(seed, 1), decode(found["segmentation"])
        before = disc(seed, 8)
        assert found["area"] == after.sum()
        assert (after != truth).sum() < 0.7 * (before != truth).sum()


def test_ids_survive_shards_and_interruptions(
    masks: Path, scenes: Path, invoke: Invoke, tmp_path: Path
) -> None:
    options = (masks, "--images", scenes, "--method", "crf")
    whole, again = tmp_path / "whole.json", tmp_path / "again.json"
    assert invoke("refine", *options, "-o", whole).exit_code == 0
    parts = [tmp_path / f"{k}.json" for k in range(2)]
    for k, part in enumerate(parts):
        assert invoke("refine", *options, "--shard", f"{k}/2", "-o", part).exit_code == 0
    assert invoke("merge", *parts, "-o", again).exit_code == 0
    assert again.read_bytes() == whole.read_bytes()
    assert invoke("refine", *options, "--resume", "-o", again).exit_code == 0
    assert again.read_bytes() == whole.read_bytes()


def test_changed_masks_are_refined_again(
    masks: Path, scenes: Path, invoke: Invoke, tmp_path: Path
) -> None:
    (scenes / "2.png").write_bytes(b"damaged")
    command = ("refine", masks, "--images", scenes, "-o", tmp_path / "o.json")
    assert invoke(*command).exit_code == 65  # image 3 is done
    text = masks.read_text()
    Image.new("RGB", (128, 96)).save(scenes / "2.png")
    masks.write_text(text.replace('"red"', '"sea"'))
    ran = invoke(*command, "--resume")
    assert ran.exit_code == 2  # the masks are of another file
    ran = invoke(*command)
    assert ran.exit_code == 0
    assert json.loads((tmp_path / "o.json").read_text())["annotations"][0]["colour"] == "sea"


def test_bad_input_is_told_in_one_line(
    masks: Path, scenes: Path, invoke: Invoke, tmp_path: Path
) -> None:
    def told(*arguments: object) -> tuple[int, str]:
        ran = invoke("refine", *arguments, "-q")
        return ran.exit_code, ran.stderr.removeprefix("unsam: ").strip()

    assert told(masks, "--images", tmp_path / "none")[0] == 66
    Image.new("RGB", (128, 90)).save(scenes / "2.png")
    code, text = told(masks, "--images", scenes)
    assert code == 65
    assert "2.png: has 128 x 90 pixels, but its annotations are for 128 x 96; give the" in text
    assert "\n" not in text
    ran = invoke("refine", masks, "--images", scenes, "--on-error", "skip", "-o", tmp_path / "o")
    assert ran.exit_code == 3
    bare = tmp_path / "bare.json"
    bare.write_text(json.dumps(json.loads(masks.read_text())["annotations"]))
    code, text = told(bare, "--images", scenes)
    assert (code, text.partition("lists no images")[0]) == (65, f"error: {bare}: ")
    assert told(masks, "--images", scenes, "--min-iou", "2")[0] == 2


def test_a_preset_sets_the_rules_of_the_paper(masks: Path, scenes: Path, invoke: Invoke) -> None:
    value = json.loads(masks.read_text())
    value["annotations"] = [annotation(1, 3, np.ones((96, 128), bool))]
    text = json.dumps(value).encode()
    default = invoke("refine", "--images", scenes, stdin=text)
    assert len(json.loads(default.stdout)["annotations"]) == 1
    paper = invoke("refine", "--images", scenes, "--preset", "paper", stdin=text)
    assert json.loads(paper.stdout)["annotations"] == []
    assert "dropped: 1 too large" in paper.stderr
    assert '"max-area":0.9' in paper.stdout
