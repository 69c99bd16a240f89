"""What ``unsam info`` says of each kind of file, and of damage."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image
from support import Invoke, draw_scene

from unsam_cli.io.files import file_identity
from unsam_cli.run.journal import Journal


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(2):
        Image.fromarray(draw_scene(number)).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def features(photos: Path, tmp_path: Path, invoke: Invoke) -> Path:
    path = tmp_path / "features.h5"
    ran = invoke("extract-features", photos, "--size", 160, "-o", path)
    assert ran.exit_code == 0, ran.stderr
    return path


def facts(invoke: Invoke, path: Path, code: int = 0, *options: str) -> dict[str, Any]:
    ran = invoke("info", "--json", *options, path)
    assert ran.exit_code == code, ran.stderr
    (report,) = json.loads(ran.stdout)
    assert report["file"] == str(path)
    assert report["exit_code"] == code
    found: dict[str, Any] = report
    return found


def write_masks(path: Path, *boxes: list[int]) -> None:
    entries = [
        {"id": i, "image_id": 1, "category_id": 1, "stage": "divide", "score": 0.1 * i}
        | {"segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]]}
        | {"bbox": [x, y, w, h], "area": w * h, "iscrowd": 0}
        for i, (x, y, w, h) in enumerate(boxes, start=1)
    ]
    images = [{"id": i, "file_name": f"{i}.png", "height": 90, "width": 99} for i in (1, 2)]
    history = [{"command": "unsam divide --tau 0.2", "version": "1", "options": {}, "inputs": {}}]
    own = {"history": history, "shard": "1/4"}
    content = {"info": {"unsam": own}, "images": images, "annotations": entries}
    path.write_text(json.dumps(content | {"categories": [{"id": 1, "name": "entity"}]}))


def test_a_zip_file_is_what_is_in_it(invoke: Invoke, tmp_path: Path) -> None:
    write_masks(tmp_path / "masks.json", [1, 2, 9, 9])
    path = tmp_path / "masks.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(tmp_path / "masks.json", "masks.json")
    found = facts(invoke, path)
    assert (found["kind"], found["facts"]["masks"]) == ("masks, COCO JSON", "1: 1 of divide")
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("a.txt", "b.txt"):
            archive.writestr(name, "text")
    found = facts(invoke, path)
    assert (found["kind"], found["facts"]) == ("a zip file", {"files": "2, a.txt, b.txt"})
    path.write_bytes(path.read_bytes()[:40])
    assert "cannot be read" in facts(invoke, path, 65)["damage"][0]


def test_features_and_what_damages_them(features: Path, invoke: Invoke) -> None:
    before = file_identity(features)
    report = facts(invoke, features)
    assert report["kind"] == "features of builtin, HDF5"
    assert report["facts"]["images"] == "2"
    assert report["history"][0].startswith("unsam extract-features --backbone builtin")
    assert "--size 160" in report["history"][0]
    assert file_identity(features) == before
    with h5py.File(features, "r+") as file:
        file["features"][7] = np.nan
    assert facts(invoke, features, 0, "--fast")["damage"] == []
    (line,) = facts(invoke, features, 65)["damage"]
    assert "record 0 (image 1)" in line
    features.write_bytes(features.read_bytes()[:-1000])
    assert "truncated" in facts(invoke, features, 65)["damage"][0]


def test_masks_are_counted_and_bad_ones_are_named(tmp_path: Path, invoke: Invoke) -> None:
    path = tmp_path / "masks.json"
    write_masks(path, [1, 2, 8, 9], [5, 5, 20, 20])
    report = facts(invoke, path)
    assert report["facts"] == {
        "images": "2, 1 without masks",
        "masks": "2: 2 of divide",
        "shard": "1/4; unsam merge joins shards",
        "scores": "0.1 to 0.2",
    }
    assert report["history"] == ["unsam divide --tau 0.2"]
    text = invoke("info", path).stdout.splitlines()
    assert text[0] == f"{path}: masks, COCO JSON"
    assert text[-1].split(maxsplit=2) == ["made", "by", "unsam divide --tau 0.2"]
    path.write_text(path.read_text().replace("[[5, 5, 25,", '[[5, 5, "x",'))
    (line,) = facts(invoke, path, 65)["damage"]
    assert "annotation 2" in line


def test_an_interrupted_run_and_an_evaluation(tmp_path: Path, invoke: Invoke) -> None:
    target = tmp_path / "masks.json"
    with Journal(target, {"stage": "divide"}, resume=False) as journal:
        journal.append(1, {"masks": []})
        journal.append(7, {"masks": []})
        report = facts(invoke, Path(f"{target}.part"))
    assert report["facts"] == {"images": "2 finished"}
    assert f"--resume completes {target}" in report["kind"]
    write_masks(target, [1, 2, 8, 9])
    for shard in ([], ["--shard", "0/2"]):
        path = tmp_path / f"report{len(shard)}.json"
        ran = invoke("evaluate", target, target, "-o", path, *shard)
        assert ran.exit_code == 0, ran.stderr
        report = facts(invoke, path)
        assert report["history"][-1].startswith("unsam evaluate --protocol whole-image")
        assert report["facts"].get("shard") == ("0/2; unsam merge joins shards" if shard else None)
    path.write_text(path.read_text()[:-9])
    assert "damaged" in facts(invoke, path, 65)["damage"][0]


@pytest.mark.torch
def test_a_model_and_a_training(tmp_path: Path, invoke: Invoke) -> None:
    from segmenter_models import CONFIGS

    from unsam_cli.models.loading import create_segmenter, save_segmenter

    save_segmenter(
        create_segmenter(CONFIGS["condinst"], seed=0),
        tmp_path,
        history=[{"command": "unsam train --steps 5"}],
    )
    report = facts(invoke, tmp_path)
    assert report["kind"] == "a model, condinst"
    assert report["history"] == ["unsam train --steps 5"]
    (tmp_path / "checkpoints" / "step-00000005").mkdir(parents=True)
    report = facts(invoke, tmp_path)
    assert report["kind"] == "a training, and its model, condinst"
    assert report["facts"]["step"] == "5 is the last checkpoint"
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert "model.safetensors: damaged" in facts(invoke, tmp_path, 65)["damage"][0]
    weights.unlink()
    assert "no such file" in facts(invoke, tmp_path, 65)["damage"][0]


def test_other_files_are_named_and_missing_ones_are_told(tmp_path: Path, invoke: Invoke) -> None:
    picture = tmp_path / "a.png"
    Image.fromarray(draw_scene(0)).save(picture)
    ran = invoke("info", picture, tmp_path / "nothing")
    assert ran.exit_code == 66
    assert ran.stdout.splitlines() == [
        f"{picture}: a PNG picture",
        f"{tmp_path / 'nothing'}: no such file or folder",
    ]
