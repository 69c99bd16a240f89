"""Datasets that are folders, written here as their makers write them."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat
from support import Invoke

from unsam_cli.convert.label_maps import component_masks, label_masks
from unsam_cli.rle import decode

Any_ = Callable[..., Any]
PALETTE = [value for i in range(256) for value in (i, 255 - i, i * 7 % 256)]


def save(path: Path, pixels: Any, mode: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if mode == "P":
        image = image.convert("L")
        image.putpalette(PALETTE)
    image.save(path)


def sa1b_record(image_id: int, masks: Any, rle: Any_, name: str = "") -> dict[str, Any]:
    rows = [
        {"id": 458527122 + i, "bbox": [4.0, 5.0, 25.0, 24.0], "area": int(mask.sum())}
        | {"segmentation": rle(mask), "predicted_iou": 0.968, "stability_score": 0.984}
        | {"point_coords": [[10.5, 9.25]], "crop_box": [0.0, 0.0, 60.0, 40.0]}
        for i, mask in enumerate(masks)
    ]
    entry = {"image_id": image_id, "width": 60, "height": 40}
    return {"image": {**entry, "file_name": name or f"sa_{image_id}.jpg"}, "annotations": rows}


def test_sa1b(tmp_path: Path, convert: Any_, shapes: Any, rle: Any_, masks_of: Any_) -> None:
    folder = tmp_path / "sa_000020"
    folder.mkdir()
    for image_id, found in ((3742, shapes), (900, shapes[:1])):
        (folder / f"sa_{image_id}.json").write_text(json.dumps(sa1b_record(image_id, found, rle)))
    other = sa1b_record(12, shapes[1:2], rle, "photo.jpg")
    (folder / "photo.json").write_text(json.dumps(other))
    data = convert("sa1b", folder)
    shown = [(i["id"], i["file_name"]) for i in data["images"]]
    assert shown == [(12, "photo.jpg"), (900, "sa_900.jpg"), (3742, "sa_3742.jpg")]
    for mask, wanted in zip(masks_of(data, 3742), shapes, strict=True):
        np.testing.assert_array_equal(mask, wanted)
    last = data["annotations"][-1]
    kept = {key: last[key] for key in ("predicted_iou", "stability_score", "point_coords")}
    assert kept == {
        "predicted_iou": 0.968,
        "stability_score": 0.984,
        "point_coords": [[10.5, 9.25]],
    }
    assert convert("sa1b", folder / "photo.json")["images"] == data["images"][:1]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("sa_1.json", "{", "not JSON"),
        ("sa_1.json", "{}", "image is missing"),
        ("sa_2.json", '{"image": {"image_id": 3}}', "file_name must be text"),
        ("x.json", "[]", "image is missing"),
    ],
)
def test_broken_files_of_sa1b_are_named(
    name: str, text: str, message: str, tmp_path: Path, invoke: Invoke
) -> None:
    folder = tmp_path / "sa1b"
    folder.mkdir()
    (folder / name).write_text(text)
    ran = invoke("convert", "sa1b", folder, "-o", tmp_path / "out.json")
    assert ran.exit_code == 65, ran.stderr
    assert name in ran.stderr
    assert message in ran.stderr


def test_a_misnamed_file_of_sa1b_is_refused(
    tmp_path: Path, invoke: Invoke, shapes: Any, rle: Any_
) -> None:
    (tmp_path / "sa_5.json").write_text(json.dumps(sa1b_record(6, shapes, rle)))
    ran = invoke("convert", "sa1b", tmp_path / "sa_5.json", "-o", tmp_path / "out.json")
    assert ran.exit_code == 65
    assert "holds image 6" in ran.stderr


@pytest.fixture
def panoptic(tmp_path: Path, shapes: Any) -> Path:
    ids = np.zeros((40, 60), dtype=np.int64)
    ids[shapes[0]] = 3226956  # three bytes
    ids[shapes[2]] = 200
    ids[shapes[3]] = 70000
    colours = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)
    save(tmp_path / "panoptic_val2017" / "000000000139.png", colours)
    segments = [
        {"id": 200, "category_id": 1, "iscrowd": 0, "area": 1, "bbox": [0, 0, 1, 1]},
        {"id": 3226956, "category_id": 184, "iscrowd": 0, "area": 1, "bbox": [0, 0, 1, 1]},
        {"id": 70000, "category_id": 1, "iscrowd": 1, "area": 1, "bbox": [0, 0, 1, 1]},
    ]
    data = {
        "images": [{"id": 139, "file_name": "000000000139.jpg", "height": 40, "width": 60}],
        "annotations": [
            {"image_id": 139, "file_name": "000000000139.png", "segments_info": segments}
        ],
        "categories": [
            {"id": 1, "name": "person", "isthing": 1, "supercategory": "person"},
            {"id": 184, "name": "tree-merged", "isthing": 0, "supercategory": "plant"},
        ],
    }
    path = tmp_path / "panoptic_val2017.json"
    path.write_text(json.dumps(data))
    return path


def test_coco_panoptic(panoptic: Path, convert: Any_, shapes: Any, masks_of: Any_) -> None:
    data = convert("coco-panoptic", panoptic)
    shown = [(a["category_name"], a["isthing"], a["iscrowd"]) for a in data["annotations"]]
    assert shown == [("person", 1, 0), ("tree-merged", 0, 0), ("person", 1, 1)]
    for mask, k in zip(masks_of(data, 139), (2, 0, 3), strict=True):
        np.testing.assert_array_equal(mask, shapes[k])
    assert data["annotations"][1]["area"] == shapes[0].sum()
    moved = panoptic.with_name("png")
    panoptic.with_suffix("").rename(moved)
    assert convert("coco-panoptic", panoptic, "--png", moved)["images"] == data["images"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda s: s.append({"id": 9, "category_id": 1}), "segment 9 has no pixels"),
        (lambda s: s.pop(), "segment 70000 is not in"),
        (lambda s: s[0].pop("id"), "id must be a whole number"),
        (lambda s: s.append(7), "record 1 of the annotations"),
    ],
)
def test_panoptic_files_that_do_not_fit_are_refused(
    change: Callable[[list[Any]], object], text: str, panoptic: Path, invoke: Invoke
) -> None:
    data = json.loads(panoptic.read_text())
    change(data["annotations"][0]["segments_info"])
    panoptic.write_text(json.dumps(data))
    ran = invoke("convert", "coco-panoptic", panoptic, "-o", panoptic.with_name("out.json"))
    assert ran.exit_code == 65, ran.stderr
    assert text in ran.stderr


def test_a_missing_png_folder_is_named(panoptic: Path, invoke: Invoke) -> None:
    panoptic.with_suffix("").rename(panoptic.with_name("png"))
    ran = invoke("convert", "coco-panoptic", panoptic)
    assert ran.exit_code == 66
    assert "--png" in ran.stderr


@pytest.mark.parametrize("kind", ["grey", "palette", "sixteen", "colour"])
def test_label_maps(kind: str, tmp_path: Path, convert: Any_, shapes: Any, masks_of: Any_) -> None:
    labels = np.zeros((40, 60), dtype=np.uint16)
    labels[shapes[0]], labels[shapes[2]] = 7, 250 if kind != "sixteen" else 4000
    pixels: NDArray[Any] = labels if kind == "sixteen" else labels.astype(np.uint8)
    if kind == "colour":
        pixels = np.stack([pixels, 0 * pixels, 0 * pixels], axis=-1)
    save(tmp_path / "maps" / "more" / "a.png", pixels, "P" if kind == "palette" else None)
    data = convert("labelmap", tmp_path / "maps")
    assert data["images"] == [{"id": 1, "file_name": "more/a.png", "height": 40, "width": 60}]
    assert [a["label"] for a in data["annotations"]] == [7, 4000 if kind == "sixteen" else 250]
    for mask, k in zip(masks_of(data, 1), (0, 2), strict=True):
        np.testing.assert_array_equal(mask, shapes[k])


def test_label_maps_with_another_background_and_pieces(
    tmp_path: Path, convert: Any_, shapes: Any, invoke: Invoke
) -> None:
    labels = np.full((40, 60), 40, dtype=np.uint8)
    labels[shapes[3]] = 0  # two pieces that touch in a corner
    save(tmp_path / "maps" / "n01_1.png", labels)
    save(tmp_path / "photos" / "n01_1.JPEG", np.zeros((40, 60, 3), np.uint8))
    options = ("--background", 40, "--components", "--images", tmp_path / "photos")
    data = convert("labelmap", tmp_path / "maps", *options)
    assert data["images"][0]["file_name"] == "n01_1.JPEG"
    assert [(a["label"], a["area"]) for a in data["annotations"]] == [(0, 20), (0, 15)]
    least = convert("labelmap", tmp_path / "maps", *options, "--min-area", 16)
    assert [a["area"] for a in least["annotations"]] == [20]
    (tmp_path / "photos" / "n01_1.JPEG").unlink()
    ran = invoke("convert", "labelmap", tmp_path / "maps", *options)
    assert ran.exit_code == 66
    assert "n01_1.png" in ran.stderr


@pytest.mark.parametrize("what", ["jpeg", "text", "float"])
def test_what_holds_no_labels_is_refused(what: str, tmp_path: Path, invoke: Invoke) -> None:
    path = tmp_path / "maps" / "a.png"
    path.parent.mkdir()
    if what == "jpeg":
        Image.new("L", (8, 8)).save(path, "JPEG")
    elif what == "float":
        Image.new("F", (8, 8), 0.5).save(path, "TIFF")
    else:
        path.write_text("labels")
    ran = invoke("convert", "labelmap", path.parent)
    assert ran.exit_code == 65, ran.stderr
    assert "a.png" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_pieces_of_labels_against_a_flood() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (12, 17))
    together = [decode(rle) for _, rle in component_masks(labels)]
    np.testing.assert_array_equal(sum(m.astype(int) for m in together), np.ones((12, 17), int))
    for value, rle in component_masks(labels):
        mask = decode(rle)
        assert set(labels[mask]) == {value}
        reached = np.zeros_like(mask)
        todo = [tuple(np.argwhere(mask)[0])]
        while todo:
            y, x = todo.pop()
            inside = 0 <= y < 12 and 0 <= x < 17
            if inside and labels[y, x] == value and not reached[y, x]:
                reached[y, x] = True
                todo += [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
        np.testing.assert_array_equal(mask, reached)
    for value, rle in label_masks(labels):
        np.testing.assert_array_equal(decode(rle), labels == value)


def test_davis(tmp_path: Path, convert: Any_, shapes: Any, masks_of: Any_) -> None:
    labels = np.zeros((40, 60), dtype=np.uint8)
    labels[shapes[0]], labels[shapes[2]], labels[shapes[3]] = 1, 2, 255
    folder = tmp_path / "DAVIS" / "Annotations" / "480p"
    save(folder / "bike" / "00000.png", labels, "P")
    white = np.where(shapes[2], 255, 0).astype(np.uint8)  # DAVIS 2016
    save(folder / "bear" / "00001.png", white)
    data = convert("davis", tmp_path / "DAVIS")
    assert [i["file_name"] for i in data["images"]] == ["bear/00001.jpg", "bike/00000.jpg"]
    shown = [(a["sequence"], a["object"]) for a in data["annotations"]]
    assert shown == [("bear", 255), ("bike", 1), ("bike", 2)]
    np.testing.assert_array_equal(masks_of(data, 1)[0], shapes[2])
    np.testing.assert_array_equal(masks_of(data, 2)[1], shapes[2])
    assert convert("davis", folder)["images"] == data["images"]


def test_davis_wants_sequences(tmp_path: Path, invoke: Invoke, shapes: Any) -> None:
    save(tmp_path / "bike" / "00000.png", shapes[0].astype(np.uint8), "P")
    ran = invoke("convert", "davis", tmp_path / "bike")
    assert ran.exit_code == 65
    assert "give the parent folder" in ran.stderr


def ade_colours(classes: Any, instances: Any) -> Any:
    rgb = np.stack([classes // 256 * 10, classes % 256, instances], axis=-1)
    return rgb.astype(np.uint8)


@pytest.fixture
def ade20k(tmp_path: Path, shapes: Any) -> Path:
    folder = tmp_path / "ADE" / "validation" / "urban" / "street"
    classes, instances = np.zeros((2, 40, 60), dtype=np.int64)
    for mask, number, instance in ((shapes[0], 1831, 51), (shapes[2], 400, 102)):
        classes[mask], instances[mask] = number, instance
    classes[shapes[3]], instances[shapes[3]] = 400, 153
    save(folder / "ADE_val_00000001_seg.png", ade_colours(classes, instances))
    parts, numbers = np.zeros((2, 40, 60), dtype=np.int64)
    parts[shapes[1]], numbers[shapes[1]] = 2156, 255
    save(folder / "ADE_val_00000001_parts_1.png", ade_colours(parts, numbers))
    objects = [
        {"id": 0, "name": "person, individual", "raw_name": "person", "name_ndx": 1831},
        {"id": 1, "name": "car, auto", "raw_name": "car", "name_ndx": 400},
        {"id": 2, "name": "head", "raw_name": "head", "name_ndx": 2156},
    ]
    levels = (0, 0, 1)
    described = [o | {"parts": {"part_level": k}} for o, k in zip(objects, levels, strict=True)]
    text = json.dumps({"annotation": {"object": described, "scene": ["caf\xe9"]}})
    path = folder / "ADE_val_00000001.json"
    path.write_bytes(text.replace("\\u00e9", "\xe9").encode("latin-1"))
    return tmp_path / "ADE" / "validation"


def test_ade20k(ade20k: Path, convert: Any_, shapes: Any, masks_of: Any_) -> None:
    data = convert("ade20k", ade20k)
    name = "urban/street/ADE_val_00000001.jpg"
    assert data["images"] == [{"id": 1, "file_name": name, "height": 40, "width": 60}]
    keys = ("category_name", "class", "part_level")
    shown = {tuple(a[key] for key in keys): a for a in data["annotations"]}
    person = shown["person, individual", 1831, 0]
    part = shown["head", 2156, 1]
    cars = [a for a in data["annotations"] if a["class"] == 400]
    assert len(cars) == 2
    assert (person["parent_id"], part["parent_id"]) == (None, person["id"])
    found = masks_of(data, 1)
    for annotation, k in ((person, 0), (part, 1)):
        np.testing.assert_array_equal(found[annotation["id"] - 1], shapes[k])
    assert sorted(a["area"] for a in cars) == sorted(int(shapes[k].sum()) for k in (2, 3))


def test_ade20k_without_descriptions_and_without_colours(
    ade20k: Path, convert: Any_, invoke: Invoke
) -> None:
    described = next(ade20k.rglob("*.json"))
    text = described.read_bytes()
    described.unlink()
    data = convert("ade20k", ade20k)
    assert len(data["annotations"]) == 4
    assert not any("category_name" in a for a in data["annotations"])
    described.write_bytes(text[:40])
    ran = invoke("convert", "ade20k", ade20k)
    assert ran.exit_code == 65
    assert described.name in ran.stderr
    described.unlink()
    seg = next(ade20k.rglob("*_seg.png"))
    save(seg, np.zeros((40, 60), np.uint8))
    ran = invoke("convert", "ade20k", ade20k)
    assert ran.exit_code == 65
    assert "SceneParsing" in ran.stderr


@pytest.fixture
def bsds(tmp_path: Path) -> Path:
    """Two annotators; the second sees two pieces of one segment, and a sliver."""
    one = np.ones((40, 60), dtype=np.uint16)
    one[:, 30:] = 2
    two = np.ones((40, 60), dtype=np.uint16)
    two[:, 20:40] = 2
    two[0, 40:50] = 3
    cells = np.empty((1, 2), dtype=object)
    for i, drawn in enumerate((one, two)):
        cells[0, i] = {"Segmentation": drawn, "Boundaries": np.zeros((40, 60), np.uint8)}
    path = tmp_path / "groundTruth" / "val" / "101085.mat"
    path.parent.mkdir(parents=True)
    savemat(path, {"groundTruth": cells})
    return path


def test_bsds500(bsds: Path, convert: Any_, masks_of: Any_) -> None:
    data = convert("bsds500", bsds.parents[1])
    image = {"id": 1, "file_name": "val/101085.jpg", "height": 40, "width": 60}
    assert data["images"] == [image]
    shown = [(a["annotator"], a["area"]) for a in data["annotations"]]
    assert shown == [(1, 1200), (1, 1200), (2, 800), (2, 790), (2, 800)]
    assert masks_of(data, 1)[3][1:, 40:].all()
    all_of_them = convert("bsds500", bsds.parent, "--min-area", 1)
    assert [a["area"] for a in all_of_them["annotations"]][-1] == 10
    assert all_of_them["images"][0]["file_name"] == "101085.jpg"
    fewer = convert("bsds500", bsds.parent, "--max-iou", 0.5)
    shown = [(a["annotator"], a["area"]) for a in fewer["annotations"]]
    assert shown == [(1, 1200), (1, 1200), (2, 800)]


def test_a_damaged_mat_is_named(bsds: Path, invoke: Invoke) -> None:
    bsds.write_bytes(b"MATLAB 5.0 MAT-file, and nothing")
    ran = invoke("convert", "bsds500", bsds.parent)
    assert ran.exit_code == 65
    assert "101085.mat" in ran.stderr
    savemat(bsds, {"something": np.zeros(3)})
    assert "groundTruth" in invoke("convert", "bsds500", bsds.parent).stderr


def tsv_row(record: dict[str, Any]) -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (60, 40)).save(buffer, "JPEG")
    text = base64.b64encode(buffer.getvalue()).decode("utf-8")
    name = record["image"]["file_name"]
    return f"/data/sam/{name}\t{json.dumps(record)}\t{text}\n"


@pytest.fixture
def shards(tmp_path: Path, shapes: Any, rle: Any_) -> Path:
    """Two shards as Semantic-SAM's instructions make them; the second has lost its index."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for k, ids in enumerate(((7, 3), (5,))):
        start, rows, index = 0, "", ""
        for image_id in ids:
            row = tsv_row(sa1b_record(image_id, shapes, rle))
            index += f"{start} {len(row)}\n"
            start += len(row)
            rows += row
        (folder / f"SAM-{k}.tsv").write_text(rows)
        (folder / f"SAM-{k}.lineidx").write_text(index)
    (folder / "SAM-1.lineidx").unlink()
    return folder


def test_tsv(shards: Path, convert: Any_, shapes: Any, masks_of: Any_) -> None:
    data = convert("tsv", shards)
    assert [(i["id"], i["file_name"]) for i in data["images"]] == [
        (3, "sa_3.jpg"),
        (5, "sa_5.jpg"),
        (7, "sa_7.jpg"),
    ]
    for image_id in (3, 5, 7):
        for mask, wanted in zip(masks_of(data, image_id), shapes, strict=True):
            np.testing.assert_array_equal(mask, wanted)
    assert data["annotations"][0]["predicted_iou"] == 0.968
    alone = convert("tsv", shards / "SAM-0.tsv")
    assert [i["id"] for i in alone["images"]] == [3, 7]


def test_tsv_whose_json_puts_annotations_first(
    tmp_path: Path, convert: Any_, shapes: Any, rle: Any_
) -> None:
    record = sa1b_record(4, shapes * 200, rle)
    turned = {"annotations": record["annotations"], "image": record["image"]}
    (tmp_path / "a.tsv").write_text(tsv_row(turned).replace('"file_name": "sa_4.jpg", ', ""))
    data = convert("tsv", tmp_path / "a.tsv")
    assert (data["images"][0]["file_name"], len(data["annotations"])) == ("sa_4.jpg", 800)


@pytest.mark.parametrize(
    ("text", "index", "message"),
    [
        ("a\tb\n", "", "row 1: 2 columns"),
        ("a\t{\tc\n", "", "row 1: not JSON"),
        ("a\t{}\tc\n", "", "has no image id"),
        ("a\t{}\tc\n", "x y\n", "a.lineidx, line 1"),
        ("a\t{}\tc\n", "0 7\n700 7\n", "a.lineidx, line 2"),
    ],
)
def test_broken_rows_are_named(
    text: str, index: str, message: str, tmp_path: Path, invoke: Invoke
) -> None:
    (tmp_path / "a.tsv").write_text(text)
    if index:
        (tmp_path / "a.lineidx").write_text(index)
    ran = invoke("convert", "tsv", tmp_path / "a.tsv")
    assert ran.exit_code == 65, ran.stderr
    assert message in ran.stderr


def test_an_image_in_two_shards_is_refused(shards: Path, invoke: Invoke) -> None:
    (shards / "SAM-2.tsv").write_bytes((shards / "SAM-1.tsv").read_bytes())
    ran = invoke("convert", "tsv", shards)
    assert ran.exit_code == 65
    assert "SAM-1.tsv, row 1 and" in ran.stderr


@pytest.mark.parametrize("name", ["labelmap", "davis", "ade20k", "bsds500", "tsv", "sa1b"])
def test_empty_and_missing_folders(name: str, tmp_path: Path, invoke: Invoke) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        ran = invoke("convert", name, place)
        assert ran.exit_code == 66, ran.stderr
        assert str(place) in ran.stderr
