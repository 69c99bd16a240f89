"""Datasets that are one JSON file, written here as their makers write them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support import Invoke

Any_ = Callable[..., Any]


def write(path: Path, data: Any) -> Path:
    path.write_text(json.dumps(data))
    return path


def box(x: float, y: float, w: float, h: float) -> list[list[float]]:
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


@pytest.fixture
def lvis(tmp_path: Path) -> Path:
    """LVIS v1: neither file_name nor iscrowd, polygons, areas that are not counted pixels."""
    url = "http://images.cocodataset.org/{}/{:012d}.jpg"
    images = [
        {"id": 9, "coco_url": url.format("train2017", 9), "height": 20, "width": 30}
        | {"not_exhaustive_category_ids": [1], "neg_category_ids": [2], "license": 1},
        {"id": 4, "coco_url": url.format("val2017", 4), "height": 10, "width": 10},
        {"id": 7, "coco_url": url.format("val2017", 7), "height": 10, "width": 10},
    ]
    annotations = [
        {"id": 30, "image_id": 9, "category_id": 1203, "segmentation": box(2, 3, 10, 5)}
        | {"area": 50.25, "bbox": [2, 3, 10, 5]},
        {"id": 31, "image_id": 4, "category_id": 2, "segmentation": box(0, 0, 4, 4)}
        | {"area": 16, "bbox": [0, 0, 4, 4]},
        {"id": 32, "image_id": 9, "category_id": 2, "segmentation": box(20, 10, 5, 5)}
        | {"area": 25, "bbox": [20, 10, 5, 5]},
    ]
    names = [{"id": 2, "name": "zebra", "synset": "zebra.n.01"}, {"id": 1203, "name": "zucchini"}]
    return write(
        tmp_path / "lvis_v1_val.json",
        {"info": {}, "images": images, "annotations": annotations, "categories": names},
    )


def test_lvis(lvis: Path, convert: Any_, masks_of: Any_) -> None:
    found = convert("lvis", lvis)
    assert [(i["id"], i["file_name"]) for i in found["images"]] == [
        (4, "val2017/000000000004.jpg"),
        (7, "val2017/000000000007.jpg"),
        (9, "train2017/000000000009.jpg"),
    ]
    rows = [(a["image_id"], a["category_name"], a["area"]) for a in found["annotations"]]
    assert rows == [(4, "zebra", 16), (9, "zucchini", 50.25), (9, "zebra", 25)]
    assert {a["iscrowd"] for a in found["annotations"]} == {0}
    wanted = np.zeros((20, 30), dtype=bool)
    wanted[3:8, 2:12] = True
    np.testing.assert_array_equal(masks_of(found, 9)[0], wanted)
    step = found["info"]["unsam"]["history"][-1]
    assert step["options"]["format"] == "lvis"
    assert step["inputs"]["source"].startswith("sha256:")


def test_a_compressed_file_and_standard_input(
    lvis: Path, convert: Any_, invoke: Invoke, tmp_path: Path
) -> None:
    plain = convert("lvis", lvis)
    packed = tmp_path / "lvis.json.gz"
    packed.write_bytes(gzip.compress(lvis.read_bytes()))
    assert convert("lvis", packed)["annotations"] == plain["annotations"]
    ran = invoke("convert", "lvis", "-", stdin=lvis.read_bytes())
    assert json.loads(ran.stdout)["annotations"] == plain["annotations"]


def test_paco_has_objects_and_parts(tmp_path: Path, convert: Any_) -> None:
    images = [{"id": 5, "file_name": "val2017/000000000005.jpg", "height": 20, "width": 30}]
    rows = [
        {"id": 11, "obj_ann_id": 12, "category_id": 600, "segmentation": box(4, 4, 3, 3)},
        {"id": 12, "obj_ann_id": 12, "category_id": 3, "segmentation": box(2, 2, 12, 12)},
        {"id": 13, "obj_ann_id": 12, "category_id": 601, "segmentation": box(8, 8, 3, 3)},
    ]
    extra = {"image_id": 5, "attribute_ids": [1], "dom_color_ids": [], "unknown_color": 0}
    categories = [
        {"id": 3, "name": "mug", "supercategory": "OBJECT"},
        {"id": 600, "name": "mug:handle", "supercategory": "PART"},
        {"id": 601, "name": "mug:rim", "supercategory": "PART"},
    ]
    data = {"images": images, "annotations": [r | extra for r in rows], "categories": categories}
    found = convert("paco", write(tmp_path / "paco_lvis_v1_val.json", data))
    assert found["images"][0]["file_name"] == "val2017/000000000005.jpg"
    shown = [(a["kind"], a["category_name"], a["parent_id"]) for a in found["annotations"]]
    assert shown == [("part", "mug:handle", 2), ("object", "mug", None), ("part", "mug:rim", 2)]
    assert [a["area"] for a in found["annotations"]] == [9, 144, 9]


def test_paco_before_its_categories_were_joined(tmp_path: Path, convert: Any_) -> None:
    data = {
        "images": [{"id": 5, "file_name": "a/5.jpg", "height": 20, "width": 30}],
        "annotations": [
            {"id": 1, "image_id": 5, "obj_ann_id": 1, "category_id": 3}
            | {"segmentation": box(2, 2, 12, 12)},
            {"id": 2, "image_id": 5, "obj_ann_id": 1, "category_id": 8}
            | {"segmentation": box(2, 2, 4, 4)},
        ],
        "categories": [{"id": 3, "name": "mug", "supercategory": "OBJECT"}],
        "part_categories": [{"id": 8, "name": "handle", "supercategory": "PART"}],
    }
    found = convert("paco", write(tmp_path / "paco.json", data))
    shown = [(a["kind"], a["category_name"]) for a in found["annotations"]]
    assert shown == [("object", "mug"), ("part", "handle")]


def test_entityseg(tmp_path: Path, convert: Any_, shapes: Any, rle: Any_, masks_of: Any_) -> None:
    images = [{"id": 1, "file_name": "entity_01_11580/a.jpg", "height": 40, "width": 60}]
    images[0] |= {"img_source": "x", "url_image": ""}
    rows = [
        {"id": i, "image_id": 1, "category_id": 1, "category_id_ori": name, "area": 7}
        | {"bbox": [0, 0, 1, 1], "segmentation": rle(mask)}
        for i, (mask, name) in enumerate(zip(shapes, ["man", "car", 3, None], strict=True))
    ]
    categories = [{"id": 1, "name": "entity"}, {"id": 3, "name": "sky"}]
    data = {"images": images, "annotations": rows, "categories": categories}
    found = convert("entityseg", write(tmp_path / "entity.json", data))
    assert [a["category_name"] for a in found["annotations"]] == ["man", "car", "sky", "entity"]
    for mask, wanted in zip(masks_of(found, 1), shapes, strict=True):
        np.testing.assert_array_equal(mask, wanted)


def test_partimagenet_begins_at_category_0_and_may_lack_sizes(
    tmp_path: Path, convert: Any_, invoke: Invoke
) -> None:
    data = {
        "images": [{"id": 0, "file_name": "n01_1.JPEG"}],
        "annotations": [
            {"id": 0, "image_id": 0, "category_id": 0, "iscrowd": 0}
            | {"segmentation": box(1, 1, 6, 4), "area": 24, "bbox": [1, 1, 6, 4]}
        ],
        "categories": [{"id": 0, "name": "Quadruped Head", "supercategory": "Quadruped"}],
    }
    source = write(tmp_path / "val.json", data)
    ran = invoke("convert", "partimagenet", source, "-o", tmp_path / "out.json")
    assert ran.exit_code == 65
    assert "--images" in ran.stderr
    (tmp_path / "images").mkdir()
    Image.new("RGB", (30, 20)).save(tmp_path / "images" / "n01_1.JPEG")
    found = convert("partimagenet", source, "--images", tmp_path / "images")
    assert found["images"] == [{"id": 0, "file_name": "n01_1.JPEG", "height": 20, "width": 30}]
    assert found["annotations"][0]["category_name"] == "Quadruped Head"


def test_coco_keeps_crowds_and_names(tmp_path: Path, convert: Any_, masks_of: Any_) -> None:
    crowd = {"size": [10, 10], "counts": [0, 30, 70]}
    data = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 10, "width": 10}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 18, "iscrowd": 1, "area": 30}
            | {"segmentation": crowd, "bbox": [0, 0, 3, 10]},
            {"id": 2, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": 9.5}
            | {"segmentation": box(5, 5, 3, 3), "bbox": [5, 5, 3, 3]},
        ],
        "categories": [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}],
    }
    found = convert("coco", write(tmp_path / "instances.json", data))
    shown = [(a["category_name"], a["iscrowd"], a["area"]) for a in found["annotations"]]
    assert shown == [("dog", 1, 30), ("person", 0, 9.5)]
    assert [int(m.sum()) for m in masks_of(found, 1)] == [30, 9]


def test_our_own_files_come_through_unchanged(
    tmp_path: Path, convert: Any_, shapes: Any, rle: Any_
) -> None:
    rows = [
        {"id": i, "image_id": 3, "category_id": 1, "iscrowd": 0, "area": int(mask.sum())}
        | {"bbox": [0, 0, 60, 40], "segmentation": rle(mask), "score": 0.5, "stage": "conquer"}
        | {"level": 0.1 * i, "granularity": 0.4, "mine": [1]}
        | {"parent_id": 1 if i == 2 else None}
        for i, mask in enumerate(shapes, start=1)
    ]
    data = {
        "info": {"unsam": {"history": [{"command": "unsam conquer", "options": {}}]}},
        "categories": [{"id": 1, "name": "entity"}],
        "images": [{"id": 3, "file_name": "a.jpg", "height": 40, "width": 60}],
        "annotations": rows,
    }
    found = convert("coco", write(tmp_path / "masks.json", data))
    assert found["annotations"] == rows
    steps = [step["command"] for step in found["info"]["unsam"]["history"]]
    assert steps[0] == "unsam conquer"
    assert steps[1].startswith("unsam convert")


def broken(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    data: dict[str, Any] = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 10, "width": 10}],
        "annotations": [
            {"id": 8, "image_id": 1, "category_id": 1, "segmentation": box(0, 0, 4, 4)}
        ],
        "categories": [],
    }
    change(data)
    return data


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda d: d["annotations"][0].update(image_id=2), "record 1 of the annotations belongs"),
        (lambda d: d["annotations"][0].update(segmentation=[[1, 2]]), "annotation 8: no polygon"),
        (lambda d: d["annotations"][0].pop("segmentation"), "segmentation is missing"),
        (lambda d: d["images"].append({**d["images"][0], "width": 7}), "image id 1 is taken"),
        (lambda d: d["images"][0].pop("file_name"), "record 1 of the images: file_name"),
        (lambda d: d["images"][0].update(id=[1]), "record 1 of the images: id"),
        (lambda d: d["images"].clear(), "lists no images"),
        (lambda d: d["annotations"].append(3), "record 2 of the annotations: must be an object"),
    ],
)
def test_broken_records_are_named(
    change: Callable[[dict[str, Any]], object], text: str, tmp_path: Path, invoke: Invoke
) -> None:
    source = write(tmp_path / "broken.json", broken(change))
    ran = invoke("convert", "lvis", source, "-o", tmp_path / "out.json")
    assert ran.exit_code == 65, ran.stderr
    assert text in ran.stderr
    assert str(source) in ran.stderr
    assert not (tmp_path / "out.json").exists()


def test_a_bad_annotation_can_be_skipped(lvis: Path, invoke: Invoke, tmp_path: Path) -> None:
    data = json.loads(lvis.read_text())
    data["annotations"][1]["segmentation"] = {"size": [3, 3], "counts": "abc"}
    write(lvis, data)
    out = tmp_path / "out.json"
    ran = invoke("convert", "lvis", lvis, "-o", out, "--on-error", "skip")
    assert ran.exit_code == 3
    found = json.loads(out.read_text())
    assert [i["id"] for i in found["images"]] == [4, 7, 9]
    assert [a["image_id"] for a in found["annotations"]] == [9, 9]
    listed = json.loads((tmp_path / "out.json.errors.jsonl").read_text())
    assert (listed["file_name"], listed["annotation_id"]) == ("val2017/000000000004.jpg", 31)
    assert "3x3 differs" in listed["error"]
    assert "left out 1 annotation;" in ran.stderr


def test_shards_merge_into_one_run(lvis: Path, invoke: Invoke, tmp_path: Path) -> None:
    one = tmp_path / "one.json"
    invoke("convert", "lvis", lvis, "-o", one)
    parts = [tmp_path / f"{k}.json" for k in range(2)]
    for k, part in enumerate(parts):
        invoke("convert", "lvis", lvis, "-o", part, "--shard", f"{k}/2", "--jobs", 1)
    invoke("merge", *parts, "-o", tmp_path / "merged.json")
    assert (tmp_path / "merged.json").read_bytes() == one.read_bytes()
