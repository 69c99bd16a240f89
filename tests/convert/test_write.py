"""Masks in other forms than COCO, and back."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools.coco import COCO
from support import Invoke, draw_scene

from unsam_cli.convert.targets import painting_order

Any_ = Callable[..., Any]


@pytest.fixture
def masks(tmp_path: Path, shapes: Any, rle: Any_) -> Path:
    """A masks file of two images, one of them without masks, and their pictures."""
    rows = [
        {"id": k, "image_id": 4, "category_id": 1, "iscrowd": 0, "area": int(mask.sum())}
        | {"bbox": [0, 0, 60, 40], "segmentation": rle(mask), "score": 1 - 0.1 * k}
        | {"stage": "conquer", "parent_id": 1 if k == 2 else None}
        for k, mask in enumerate(shapes, start=1)
    ]
    size = {"height": 40, "width": 60}
    images = [
        {"id": 2, "file_name": "more/empty.jpg", **size},
        {"id": 4, "file_name": "scene.png", **size},
    ]
    for image in images:
        path = tmp_path / "photos" / str(image["file_name"])
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw_scene(0, 40, 60)).save(path)
    path = tmp_path / "masks.json"
    categories = [{"id": 1, "name": "entity"}]
    path.write_text(json.dumps({"images": images, "annotations": rows, "categories": categories}))
    return path


def run(invoke: Invoke, *args: object) -> None:
    ran = invoke("convert", *args)
    assert ran.exit_code == 0, ran.stderr


def same_masks(found: Any, wanted: Any) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def without(data: dict[str, Any], *keys: str) -> list[dict[str, Any]]:
    return [{k: v for k, v in a.items() if k not in keys} for a in data["annotations"]]


SA1B_KEYS = ("predicted_iou", "stability_score", "point_coords", "crop_box")


def test_sa1b_and_back(
    masks: Path, invoke: Invoke, convert: Any_, shapes: Any, masks_of: Any_, tmp_path: Path
) -> None:
    run(invoke, "--to", "sa1b", masks, "-o", tmp_path / "sa1b")
    files = sorted(p.relative_to(tmp_path / "sa1b") for p in (tmp_path / "sa1b").rglob("*.*"))
    assert files == [Path("more/empty.json"), Path("scene.json")]
    record = json.loads((tmp_path / "sa1b" / "scene.json").read_text())
    image = {"image_id": 4, "id": 4, "width": 60, "height": 40, "file_name": "scene.png"}
    assert record["image"] == image
    for row, mask in zip(record["annotations"], shapes, strict=True):
        [[x, y]] = row["point_coords"]
        assert mask[int(y), int(x)]
        assert row["predicted_iou"] == row["score"]
        assert row["crop_box"] == [0, 0, 60, 40]
    back = convert("sa1b", tmp_path / "sa1b")
    first = json.loads(masks.read_text())
    assert back["images"] == first["images"]
    assert without(back, *SA1B_KEYS) == first["annotations"]
    same_masks(masks_of(back, 4), shapes)
    assert not list(tmp_path.glob("*.part"))


def test_tsv_and_back(masks: Path, invoke: Invoke, convert: Any_, tmp_path: Path) -> None:
    out = tmp_path / "SAM-0.tsv"
    run(invoke, "--to", "tsv", masks, "--images", tmp_path / "photos", "-o", out)
    data = out.read_bytes()
    index = (tmp_path / "SAM-0.lineidx").read_text().splitlines()
    pixels = []
    for line in index:
        start, length = map(int, line.split())
        row = data[start : start + length]
        assert row.endswith(b"\n")
        name, text, image = row.rstrip(b"\n").split(b"\t")
        record = json.loads(text)
        assert record["image"]["file_name"] == name.decode()
        assert record["image"]["id"] == record["image"]["image_id"]
        decoded = Image.open(io.BytesIO(base64.b64decode(image)))
        assert (decoded.format, decoded.size) == ("JPEG", (60, 40))
        pixels.append(np.asarray(decoded).astype(int))
    original = (tmp_path / "photos" / "more" / "empty.jpg").read_bytes()
    assert base64.b64encode(original) in data  # a JPEG goes in as it is
    assert np.abs(pixels[1] - draw_scene(0, 40, 60)).mean() < 4
    back = convert("tsv", out)
    first = json.loads(masks.read_text())
    assert back["images"] == first["images"]
    assert without(back, *SA1B_KEYS) == first["annotations"]


def test_tsv_wants_images_that_fit(masks: Path, invoke: Invoke, tmp_path: Path) -> None:
    out = tmp_path / "a.tsv"
    assert "--images" in invoke("convert", "--to", "tsv", masks, "-o", out).stderr
    Image.new("RGB", (61, 40)).save(tmp_path / "photos" / "scene.png")
    photos = tmp_path / "photos"
    ran = invoke("convert", "--to", "tsv", masks, "--images", photos, "-o", out)
    assert ran.exit_code == 65
    assert "has 61 x 40 pixels, but its annotations are for 60 x 40" in ran.stderr
    assert not out.exists()
    skip = ("--on-error", "skip")
    ran = invoke("convert", "--to", "tsv", masks, "--images", photos, "-o", out, *skip)
    assert ran.exit_code == 3
    assert out.read_bytes().count(b"\n") == 1


def test_label_maps_in_a_stated_order(
    masks: Path, invoke: Invoke, convert: Any_, shapes: Any, tmp_path: Path
) -> None:
    run(invoke, "--to", "labelmap", masks, "-o", tmp_path / "maps")
    labels = np.asarray(Image.open(tmp_path / "maps" / "scene.png"))
    assert labels.dtype == np.uint8
    assert (labels[shapes[1]] == 2).all()  # the part lies over the whole
    assert (labels[shapes[0] & ~shapes[1]] == 1).all()
    assert not np.asarray(Image.open(tmp_path / "maps" / "more" / "empty.png")).any()
    run(invoke, "--to", "labelmap", masks, "-o", tmp_path / "scored", "--order", "score")
    scored = np.asarray(Image.open(tmp_path / "scored" / "scene.png"))
    assert (scored[shapes[0]] == 1).all()  # the whole has the better score
    back = convert("labelmap", tmp_path / "maps", "--images", tmp_path / "photos")
    assert [i["file_name"] for i in back["images"]] == ["more/empty.jpg", "scene.png"]
    assert [a["label"] for a in back["annotations"]] == [1, 2, 3, 4]
    assert [a["area"] for a in back["annotations"]][1:] == [int(m.sum()) for m in shapes[1:]]


def test_painting_order() -> None:
    found = [{"score": 0.2}, {}, {"score": 0.1}, {}]
    areas = [5, 9, 5, 1]
    assert painting_order(found, areas, "area") == [1, 0, 2, 3]
    assert painting_order(found, areas, "score") == [1, 3, 2, 0]
    assert painting_order(found, areas, "file") == [0, 1, 2, 3]


def test_many_masks_need_sixteen_bits(tmp_path: Path, invoke: Invoke, rle: Any_) -> None:
    rows = []
    for k in range(300):
        mask = np.zeros((20, 30), dtype=bool)
        mask.flat[k] = True
        rows.append({"id": k + 1, "image_id": 1, "category_id": 1, "segmentation": rle(mask)})
    images = [{"id": 1, "file_name": "a.jpg", "height": 20, "width": 30}]
    (tmp_path / "m.json").write_text(json.dumps({"images": images, "annotations": rows}))
    run(invoke, "--to", "labelmap", tmp_path / "m.json", "-o", tmp_path / "maps")
    labels = np.asarray(Image.open(tmp_path / "maps" / "a.png"))
    np.testing.assert_array_equal(labels.ravel()[:301], [*range(1, 301), 0])


def test_results_for_pycocotools(
    masks: Path, invoke: Invoke, tmp_path: Path, shapes: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["--to", "results", masks], ["results", masks]):
        run(invoke, *words, "-o", tmp_path / "results.json")
        found = json.loads((tmp_path / "results.json").read_text())
        assert isinstance(found, list)
        assert "bbox" not in found[0]
        loaded = COCO(masks).loadRes(str(tmp_path / "results.json"))
        assert [a["area"] for a in loaded.dataset["annotations"]] == [m.sum() for m in shapes]
        assert [a["score"] for a in loaded.dataset["annotations"]] == [
            1 - 0.1 * k for k in range(1, 5)
        ]
    capsys.readouterr()


def test_ground_truth_as_results_is_perfect_and_without_crowds(
    masks: Path, invoke: Invoke, tmp_path: Path
) -> None:
    data = json.loads(masks.read_text())
    for row in data["annotations"]:
        del row["score"]
    data["annotations"][2]["iscrowd"] = 1
    masks.write_text(json.dumps(data))
    run(invoke, "results", masks, "-o", tmp_path / "results.json")
    found = json.loads((tmp_path / "results.json").read_text())
    assert [a["score"] for a in found] == [1.0] * 3


def test_polygons_and_back(
    masks: Path, invoke: Invoke, convert: Any_, shapes: Any, masks_of: Any_, tmp_path: Path
) -> None:
    run(invoke, "--to", "polygons", masks, "-o", tmp_path / "polygons.json")
    data = json.loads((tmp_path / "polygons.json").read_text())
    lengths = [len(a["segmentation"]) for a in data["annotations"]]
    assert lengths == [1, 1, 1, 2]
    same_masks(masks_of(data, 4), shapes)
    back = convert("coco", tmp_path / "polygons.json")
    assert back["annotations"] == json.loads(masks.read_text())["annotations"]
    simple = ("--tolerance", 1.5)
    run(invoke, "--to", "polygons", masks, "-o", tmp_path / "simple.json", *simple)
    data = json.loads((tmp_path / "simple.json").read_text())
    for one, other in zip(masks_of(data, 4), shapes, strict=True):
        assert (one & other).sum() / (one | other).sum() > 0.85


def test_crowds_and_empty_masks_stay_rle(tmp_path: Path, invoke: Invoke, rle: Any_) -> None:
    empty, full = np.zeros((5, 6), dtype=bool), np.ones((5, 6), dtype=bool)
    rows = [
        {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 1, "segmentation": rle(full)},
        {"id": 2, "image_id": 1, "category_id": 1, "iscrowd": 0, "segmentation": rle(empty)},
    ]
    images = [{"id": 1, "file_name": "a.jpg", "height": 5, "width": 6}]
    (tmp_path / "m.json").write_text(json.dumps({"images": images, "annotations": rows}))
    run(invoke, "--to", "polygons", tmp_path / "m.json", "-o", tmp_path / "p.json")
    data = json.loads((tmp_path / "p.json").read_text())
    assert [a["segmentation"] for a in data["annotations"]] == [rle(full), rle(empty)]
    run(invoke, "--to", "yolo", tmp_path / "m.json", "-o", tmp_path / "yolo")
    assert (tmp_path / "yolo" / "labels" / "a.txt").read_bytes() == b""


def test_yolo(masks: Path, invoke: Invoke, shapes: Any, tmp_path: Path) -> None:
    run(invoke, "--to", "yolo", masks, "-o", tmp_path / "yolo")
    text = (tmp_path / "yolo" / "labels" / "scene.txt").read_text()
    assert (tmp_path / "yolo" / "labels" / "more" / "empty.txt").read_text() == ""
    assert "0: entity" in (tmp_path / "yolo" / "data.yaml").read_text()
    scale = 8  # so that the width of a drawn line hardly counts
    for line, mask in zip(text.splitlines(), shapes, strict=True):
        number, *values = line.split()
        points = np.array(values, dtype=float).reshape(-1, 2)
        assert number == "0"
        assert points.min() >= 0
        assert points.max() <= 1
        canvas = Image.new("L", (60 * scale, 40 * scale))
        corners = [(x * 60 * scale, y * 40 * scale) for x, y in points]
        ImageDraw.Draw(canvas).polygon(corners, fill=1)
        drawn = np.asarray(canvas)[scale // 2 :: scale, scale // 2 :: scale] > 0
        assert (drawn & mask).sum() / (drawn | mask).sum() > 0.95


def test_a_dataset_straight_to_another_form(
    masks: Path, invoke: Invoke, tmp_path: Path, shapes: Any
) -> None:
    run(invoke, "--to", "sa1b", masks, "-o", tmp_path / "sa1b")
    run(invoke, "sa1b", tmp_path / "sa1b", "--to", "labelmap", "-o", tmp_path / "maps")
    labels = np.asarray(Image.open(tmp_path / "maps" / "scene.png"))
    assert (labels[shapes[2]] == 3).all()


def test_two_images_of_one_stem_get_two_files(tmp_path: Path, invoke: Invoke) -> None:
    images = [
        {"id": i, "file_name": name, "height": 5, "width": 6}
        for i, name in enumerate(["a.jpg", "a.png"], start=1)
    ]
    (tmp_path / "m.json").write_text(json.dumps({"images": images, "annotations": []}))
    run(invoke, "--to", "labelmap", tmp_path / "m.json", "-o", tmp_path / "maps")
    assert sorted(p.name for p in (tmp_path / "maps").iterdir()) == ["a.png", "a.png.png"]


@pytest.mark.parametrize("name", ["/etc/a.jpg", "../a.jpg"])
def test_names_do_not_leave_the_folder(name: str, tmp_path: Path, invoke: Invoke) -> None:
    images = [{"id": 1, "file_name": name, "height": 5, "width": 6}]
    (tmp_path / "m.json").write_text(json.dumps({"images": images, "annotations": []}))
    ran = invoke("convert", "--to", "labelmap", tmp_path / "m.json", "-o", tmp_path / "maps")
    assert ran.exit_code == 0, ran.stderr
    [written] = (tmp_path / "maps").rglob("*.png")
    assert written.name == "a.png"


def test_a_folder_is_resumed(masks: Path, invoke: Invoke, tmp_path: Path) -> None:
    data = json.loads(masks.read_text())
    good = data["annotations"][0]["segmentation"]
    data["annotations"][0]["segmentation"] = {"size": [40, 60], "counts": "?"}
    masks.write_text(json.dumps(data))
    arguments = ["convert", "--to", "sa1b", masks, "-o", tmp_path / "sa1b"]
    ran = invoke(*arguments)
    assert ran.exit_code == 65
    first = tmp_path / "sa1b" / "more" / "empty.json"
    before = first.stat().st_mtime_ns
    ran = invoke(*arguments, "--resume", "--to", "labelmap")
    assert ran.exit_code == 2  # another form
    data["annotations"][0]["segmentation"] = good
    masks.write_text(json.dumps(data))
    ran = invoke(*arguments, "--resume")
    assert ran.exit_code == 2  # another source
    assert "source" in ran.stderr
    ran = invoke(*arguments)
    assert ran.exit_code == 0
    assert first.stat().st_mtime_ns > before
    assert (tmp_path / "sa1b" / "scene.json").exists()
