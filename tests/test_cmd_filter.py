from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support import Invoke

# id: x, y, w, h, score, parent, level, stage
MASKS: dict[int, tuple[int, int, int, int, float | None, int | None, float | None, str]] = {
    3: (0, 0, 60, 60, 0.9, None, None, "divide"),
    5: (0, 0, 40, 40, 0.8, 3, 0.1, "conquer"),
    8: (0, 0, 39, 40, 0.3, 5, 0.4, "conquer"),
    9: (2, 2, 5, 5, 0.7, 8, 0.6, "conquer"),
    12: (70, 50, 20, 20, None, None, 0.4, "conquer"),
}


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    entries = [
        {"id": i, "image_id": 4, "category_id": 1, "iscrowd": 0, "area": w * h}
        | {"bbox": [x, y, w, h], "colour": f"c{i}", "parent_id": parent, "stage": stage}
        | {"segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]], "granularity": w / 60}
        | ({} if score is None else {"score": score})
        | ({} if level is None else {"level": level})
        for i, (x, y, w, h, score, parent, level, stage) in MASKS.items()
    ]
    images = [{"id": i, "file_name": f"{i}.png", "height": 80, "width": 100} for i in (4, 6)]
    history = [{"command": "unsam conquer", "version": "1", "options": {}, "inputs": {}}]
    content = {"info": {"unsam": {"history": history}}, "images": images, "annotations": entries}
    path = tmp_path / "masks.json"
    path.write_text(json.dumps(content | {"categories": [{"id": 1, "name": "entity"}]}))
    return path


def filtered(invoke: Invoke, masks: Path, *options: object) -> dict[int, dict[str, Any]]:
    ran = invoke("filter", masks, *options)
    assert ran.exit_code == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert [image["id"] for image in found["images"]] == [4, 6]
    kept = f"{len(found['annotations'])} of 5 masks kept"
    assert kept in ran.stderr
    return {a["id"]: a for a in found["annotations"]}


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ([], [3, 5, 8, 9, 12]),
        (["--min-score", "0.7"], [3, 5, 9]),
        (["--min-area", "100", "--max-area", "0.3"], [5, 8, 12]),
        (["--level", "0.3,0.5"], [8, 12]),
        (["--granularity", "0,0.5"], [9, 12]),
        (["--stage", "divide"], [3]),
        (["--inside", "50,40,900,900"], [12]),
        (["--inside", "0,0,30,60"], [3, 5, 8, 9]),
        (["--nms-iou", "0.9"], [3, 5, 9, 12]),
        (["--max-masks", "2"], [3, 5]),
        (["--max-masks", "2", "--stage", "conquer", "--nms-iou", "0.9"], [5, 9]),
    ],
)
def test_masks_that_meet_all_conditions_are_kept(
    options: list[str], kept: list[int], masks: Path, invoke: Invoke
) -> None:
    assert list(filtered(invoke, masks, *options)) == kept


def test_a_kept_mask_is_as_it_was_and_below_its_nearest_kept_ancestor(
    masks: Path, invoke: Invoke
) -> None:
    every, some = filtered(invoke, masks), filtered(invoke, masks, "--min-score", "0.7")
    assert [every[i]["parent_id"] for i in (3, 5, 8, 9, 12)] == [None, 3, 5, 8, None]
    assert some[9] == {**every[9], "parent_id": 5}
    assert some[9]["colour"] == "c9"
    assert (some[9]["score"], some[9]["level"], some[9]["granularity"]) == (0.7, 0.6, 5 / 60)


def test_the_history_and_shards_go_on(masks: Path, tmp_path: Path, invoke: Invoke) -> None:
    for name, shard in (("a", ["--shard", "0/2"]), ("b", ["--shard", "1/2"]), ("whole", [])):
        out = tmp_path / f"{name}.json"
        ran = invoke("filter", masks, "--min-area", 30, "-o", out, *shard)
        assert ran.exit_code == 0, ran.stderr
    merged = tmp_path / "merged.json"
    assert invoke("merge", tmp_path / "a.json", tmp_path / "b.json", "-o", merged).exit_code == 0
    assert merged.read_bytes() == (tmp_path / "whole.json").read_bytes()
    history = json.loads(merged.read_text())["info"]["unsam"]["history"]
    assert [step["command"].split()[1] for step in history] == ["conquer", "filter"]
    assert history[-1]["options"]["min-area"] == 30


def test_shards_of_another_command_get_unique_ids(
    masks: Path, tmp_path: Path, invoke: Invoke
) -> None:
    """Each of them begins with 1, and merge numbers all annotations."""
    content = json.loads(masks.read_text())
    for k, image in ((0, 4), (1, 6)):
        own = {**content["info"]["unsam"], "shard": f"{k}/2"}
        entries = [{**a, "image_id": image} for a in content["annotations"]]
        images = [i for i in content["images"] if i["id"] == image]
        shard = {**content, "info": {"unsam": own}, "images": images, "annotations": entries}
        (tmp_path / "shard.json").write_text(json.dumps(shard))
        out = tmp_path / f"{k}.json"
        ran = invoke("filter", tmp_path / "shard.json", "--min-score", 0.7, "-o", out)
        assert ran.exit_code == 0, ran.stderr
    ran = invoke("merge", tmp_path / "0.json", tmp_path / "1.json")
    assert ran.exit_code == 0, ran.stderr
    found = json.loads(ran.stdout)["annotations"]
    assert [a["id"] for a in found] == [1, 2, 3, 4, 5, 6]
    assert [a["parent_id"] for a in found] == [None, 1, 2, None, 4, 5]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--level", "0.5,0.2"], "--level 0.5,0.2 is empty; give LOW,HIGH"),
        (["--inside", "5,5,0,9"], "--inside X,Y,W,H has no pixels"),
        (["--max-area", "0"], "max-area"),
    ],
)
def test_conditions_that_nothing_can_meet_are_refused(
    options: list[str], said: str, masks: Path, invoke: Invoke
) -> None:
    ran = invoke("filter", masks, *options)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert said in ran.stderr
