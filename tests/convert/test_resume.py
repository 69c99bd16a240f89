"""What changed since a conversion was interrupted is converted again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from support import Invoke

Any_ = Callable[..., Any]
LABELS = np.zeros((40, 60), np.uint8)
LABELS[4:20, 4:30] = 1
OTHER = np.roll(LABELS, 7, axis=1)
BROKEN = b"not what it should be"


def label_map(path: Path, labels: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(labels).save(path)


def ade_parts(path: Path, labels: Any) -> None:
    """Write an object, the same one in all files, and a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for name, area in (("_seg.png", np.ones_like(LABELS)), ("_parts_1.png", labels)):
        colours = np.stack([area * 10, area * 5, area], axis=-1)
        Image.fromarray(colours).save(path.with_name(path.name.replace("_seg.png", name)))


def drawn(path: Path, labels: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = np.empty((1, 1), object)
    cells[0, 0] = {"Segmentation": labels.astype(np.uint16) + 1}
    savemat(path, {"groundTruth": cells})


def sa1b(path: Path, labels: Any, rle: Any_) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    number = int(path.stem.removeprefix("sa_"))
    image = {"image_id": number, "file_name": f"sa_{number}.jpg", "height": 40, "width": 60}
    rows = [{"id": 1, "segmentation": rle(labels > 0)}]
    path.write_text(json.dumps({"image": image, "annotations": rows}))


SOURCES = {
    "labelmap": ("1.png", "2.png", label_map),
    "davis": ("s/1.png", "s/2.png", label_map),
    "ade20k": ("1_seg.png", "2_seg.png", ade_parts),
    "bsds500": ("1.mat", "2.mat", drawn),
    "sa1b": ("sa_1.json", "sa_2.json", sa1b),
}


def outcome(path: Path) -> dict[str, bytes]:
    """Return what is in a file, or in the files of a folder."""
    if path.is_file():
        return {"": path.read_bytes()}
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("target", ["coco", "sa1b", "labelmap", "yolo"])
def test_a_source_that_changed_is_read_again(
    name: str, target: str, tmp_path: Path, invoke: Invoke, rle: Any_
) -> None:
    first, second, make = SOURCES[name]
    source, out, fresh = tmp_path / "source", tmp_path / "out", tmp_path / "fresh"
    more = (rle,) if make is sa1b else ()
    for file in (first, second):
        make(source / file, LABELS, *more)  # type: ignore[operator]
    (source / second).write_bytes(BROKEN)
    line = ["convert", name, source, "--to", target, "--jobs", 1, "-o"]
    assert invoke(*line, out).exit_code == 65
    for file in (first, second):
        make(source / file, OTHER, *more)  # type: ignore[operator]
    ran = invoke(*line, out, "--resume")
    assert ran.exit_code == 0, ran.stderr
    assert "1 image changed after the earlier run" in ran.stderr
    assert invoke(*line, fresh).exit_code == 0
    assert outcome(out) == outcome(fresh)


@pytest.mark.parametrize("target", ["coco", "tsv"])
def test_what_did_not_change_is_kept(target: str, tmp_path: Path, invoke: Invoke) -> None:
    source, photos = tmp_path / "source", tmp_path / "photos"
    for k in (1, 2):
        label_map(source / f"{k}.png", LABELS)
        label_map(photos / f"{k}.png", np.stack([LABELS * 9] * 3, axis=-1))
    (source / "2.png").write_bytes(BROKEN)
    line = ["convert", "labelmap", source, "--images", photos, "--to", target, "--jobs", 1]
    out = tmp_path / f"out.{target}"
    assert invoke(*line, "-o", out).exit_code == 65
    label_map(source / "2.png", OTHER)
    ran = invoke(*line, "-o", out, "--resume")
    assert "keeping 1 of 2 images of an earlier run" in ran.stderr


def test_a_photograph_that_changed_is_written_again(
    tmp_path: Path, invoke: Invoke, rle: Any_
) -> None:
    photos = tmp_path / "photos"
    pictures = [np.full((40, 60, 3), 40 * k, np.uint8) for k in (1, 2, 3)]
    for k in (1, 2):
        label_map(photos / f"{k}.png", pictures[k])
    images = [{"id": k, "file_name": f"{k}.png", "height": 40, "width": 60} for k in (1, 2)]
    masks = tmp_path / "masks.json"
    masks.write_text(json.dumps({"images": images, "annotations": []}))
    shutil.move(photos / "2.png", tmp_path / "2.png")
    line = ["convert", "--to", "tsv", masks, "--images", photos, "--jobs", 1, "-o"]
    out, fresh = tmp_path / "out.tsv", tmp_path / "fresh.tsv"
    assert invoke(*line, out).exit_code == 66
    shutil.move(tmp_path / "2.png", photos / "2.png")
    label_map(photos / "1.png", pictures[0])
    assert invoke(*line, out, "--resume").exit_code == 0
    assert invoke(*line, fresh).exit_code == 0
    assert out.read_bytes() == fresh.read_bytes()


def test_a_file_that_changed_is_refused(tmp_path: Path, invoke: Invoke) -> None:
    images = [{"id": k, "file_name": f"{k}.png", "height": 40, "width": 60} for k in (1, 2)]
    masks, out = tmp_path / "masks.json", tmp_path / "out.json"
    bad = {"id": 1, "image_id": 2, "segmentation": 7}
    masks.write_text(json.dumps({"images": images, "annotations": [bad]}))
    assert invoke("convert", "--to", "coco", masks, "-o", out).exit_code == 65
    masks.write_text(json.dumps({"images": images, "annotations": []}))
    ran = invoke("convert", "--to", "coco", masks, "-o", out, "--resume")
    assert ran.exit_code == 2
    assert "the source was sha256:" in ran.stderr


def test_a_converted_shard_stays_one(scenes: Path, tmp_path: Path, invoke: Invoke) -> None:
    shard, masks, out = (tmp_path / name for name in ("shard.h5", "masks.json", "out.json"))
    ran = invoke("extract-features", scenes, "--shard", "1/3", "--size", 64, "-o", shard)
    assert ran.exit_code == 0, ran.stderr
    assert invoke("divide", shard, "-o", masks).exit_code == 0
    assert invoke("convert", "--to", "polygons", masks, "-o", out).exit_code == 0
    own, found = (json.loads(path.read_text())["info"]["unsam"] for path in (masks, out))
    assert own["shard"] == found["shard"] == "1/3"
    assert own["image_list"] == found["image_list"]
