"""Files in the layouts of annotation tools and frameworks, which say one thing in many ways."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as cocomask
from support import Invoke

from unsam_cli.errors import MaskFileError
from unsam_cli.io.masks import read_masks
from unsam_cli.rle import decode

# pycocotools 2.0.11 under numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

H, W = 20, 30
BOXES = ((2, 3, 10, 8), (15, 5, 10, 12))


def outline(x: int, y: int, w: int, h: int) -> list[float]:
    return [float(v) for v in (x, y, x + w, y, x + w, y + h, x, y + h)]


def drawn(*polygons: list[float]) -> NDArray[np.bool_]:
    """Mask of polygons by pycocotools."""
    merged = cocomask.merge(cocomask.frPyObjects([list(p) for p in polygons], H, W))
    return np.asarray(cocomask.decode(merged), dtype=bool)


def counts(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Uncompressed RLE, as brushes of annotation tools write it."""
    flat = np.concatenate([[False], mask.T.ravel(), [False]])
    edges = np.flatnonzero(np.diff(flat.astype(int)))
    return {"size": [H, W], "counts": np.diff([0, *edges, H * W]).tolist()}


def text_rle(mask: NDArray[np.bool_]) -> dict[str, Any]:
    found = cocomask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [H, W], "counts": found["counts"].decode()}


def coco(**image: Any) -> dict[str, Any]:
    """Two masks of one image."""
    entry = {"id": 1, "file_name": "a.jpg", "height": H, "width": W} | image
    masks = [
        {"id": i, "image_id": entry["id"], "category_id": 1, "iscrowd": 0}
        | {"area": w * h, "bbox": [x, y, w, h], "segmentation": [outline(x, y, w, h)]}
        for i, (x, y, w, h) in enumerate(BOXES, start=1)
    ]
    return {"images": [entry], "annotations": masks, "categories": [{"id": 1, "name": "thing"}]}


def each(data: dict[str, Any], **values: Any) -> dict[str, Any]:
    for one in data["annotations"]:
        one.update(values)
    return data


def cvat() -> dict[str, Any]:
    """CVAT and Datumaro: masks of the brush are crowds, with counts that are not compressed."""
    data = each(coco(license=0, flickr_url="", coco_url="", date_captured=0), iscrowd=1)
    for one, (x, y, w, h) in zip(data["annotations"], BOXES, strict=True):
        one["segmentation"] = counts(drawn(outline(x, y, w, h)))
        one["attributes"] = {"occluded": False}
    return data | {"licenses": [{"name": "", "id": 0, "url": ""}], "info": {"year": ""}}


def label_studio() -> dict[str, Any]:
    """Label Studio: everything from 0, one flat list of numbers per polygon."""
    data = coco(id=0, file_name="images\\1\\a.jpg")
    for i, one in enumerate(data["annotations"]):
        one |= {"id": i, "category_id": 0, "ignore": 0, "segmentation": one["segmentation"][0]}
    return data | {"info": {"version": "1.0", "contributor": "Label Studio"}}


def roboflow() -> dict[str, Any]:
    """Roboflow: a mixture of polygons and boxes; boxes have no polygon."""
    data = coco(file_name="a_jpg.rf.0123abcd.jpg", extra={"name": "a.jpg"}, date_captured="2024")
    box = {"id": 3, "image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4], "area": 16}
    data["annotations"].append(box | {"segmentation": [], "iscrowd": 0})
    return data


def fiftyone() -> dict[str, Any]:
    """FiftyOne: null for what is not known."""
    data = each(coco(license=None, coco_url=None), iscrowd=None, category_id=None, score=None)
    return data | {"licenses": [], "info": None}


def detectron2() -> dict[str, Any]:
    """Detectron2's cache: absolute paths, floats, areas that are not finite."""
    data = each(coco(file_name="/datasets/x/a.jpg", height=20.0, width=30.0), area=float("nan"))
    return each(data, image_id=1.0) | {"licenses": None, "info": {"date_created": "now"}}


def uuids() -> dict[str, Any]:
    """Databases: ids are UUIDs or numbers as text, boxes are missing."""
    data = coco(id="5c1e-a")
    for one in data["annotations"]:
        one |= {"id": f"b2-{one['id']}", "category_id": "thing", "bbox": []}
    return data


def texts() -> dict[str, Any]:
    """Numbers as text, and polygons as pairs of numbers."""
    data = each(coco(id="1"), category_id="1", iscrowd="0")
    for one in data["annotations"]:
        flat = one["segmentation"][0]
        one |= {"id": str(one["id"]), "segmentation": [[flat[i : i + 2] for i in range(0, 8, 2)]]}
    return data


TOOLS = [cvat, label_studio, roboflow, fiftyone, detectron2, uuids, texts]


def save(path: Path, data: Any) -> Path:
    path.write_text(json.dumps(data))
    return path


def masks_of(path: Path) -> list[NDArray[np.bool_]]:
    found = json.loads(path.read_text())["annotations"]
    rles = [a["segmentation"] for a in found]
    return [np.asarray(cocomask.decode(rle), dtype=bool) for rle in rles]


@pytest.mark.parametrize("tool", TOOLS)
def test_convert_reads_the_masks_of_a_tool(
    tool: Callable[[], dict[str, Any]], invoke: Invoke, tmp_path: Path
) -> None:
    source = save(tmp_path / "tool.json", tool())
    out = tmp_path / "out.json"
    ran = invoke("convert", "coco", source, "-o", out, "--crowds", "masks")
    assert ran.exit_code == 0, ran.stderr
    wanted = [drawn(outline(*box)) for box in BOXES]
    for mask, expected in zip(masks_of(out), wanted, strict=True):
        np.testing.assert_array_equal(mask, expected)
    found = json.loads(out.read_text())
    assert [(a["id"], a["area"]) for a in found["annotations"]] == [(1, 80), (2, 120)]
    assert {a["iscrowd"] for a in found["annotations"]} == {0}
    results = [{"image_id": found["images"][0]["id"], "segmentation": text_rle(m), "score": 1.0,
                "category_id": 1} for m in wanted]  # fmt: skip
    ran = invoke(
        "evaluate", source, save(tmp_path / "r.json", results), "--crowds", "masks", "-o", "-"
    )
    if tool is not uuids:  # whose ids the results do not know
        assert json.loads(ran.stdout)["metrics"]["AP"] == 1, ran.stderr


def test_text_ids_are_numbered_in_the_order_of_the_file(tmp_path: Path) -> None:
    data: dict[str, list[Any]] = {key: [] for key in ("annotations", "images")}
    for name in ("z-9", 7, "a-1"):
        one = coco(id=name, file_name=f"{name}.jpg")
        data["images"] += one["images"]
        data["annotations"] += [{**a, "id": f"{name}/{a['id']}"} for a in one["annotations"]]
    data["annotations"][1]["parent_id"] = "z-9/1"
    found = read_masks(save(tmp_path / "a.json", data))
    assert {i: image.file_name for i, image in found.images.items()} == {
        1: "z-9.jpg",
        2: "7.jpg",
        3: "a-1.jpg",
    }
    assert found.text_ids == {1: "z-9", 2: "7", 3: "a-1"}
    assert [(a.id, a.parent_id) for a in found.annotations_of(1)] == [(1, None), (2, 1)]
    assert [a.id for a in found.annotations_of(3)] == [5, 6]


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        ([], "only a box"),
        (None, "not only boxes"),
        ([[1.0, 1.0, 4.0, 4.0]], "three points"),
        ([[], None], "three points"),
    ],
)
def test_an_annotation_without_area_costs_only_itself(
    segmentation: Any, reason: str, invoke: Invoke, tmp_path: Path
) -> None:
    data = coco()
    data["annotations"].append({**data["annotations"][0], "id": 77, "segmentation": segmentation})
    source, out = save(tmp_path / "a.json", data), tmp_path / "out.json"
    for on_error, code in (("fail", 0), ("skip", 3)):
        ran = invoke("convert", "coco", source, "-o", out, "--on-error", on_error)
        assert ran.exit_code == code, ran.stderr
        assert "left out 1 of 3 annotations, such as annotation 77" in ran.stderr
        assert len(masks_of(out)) == 2
        listed = json.loads((tmp_path / "out.json.errors.jsonl").read_text())
        assert (listed["annotation_id"], listed["file_name"]) == (77, "a.jpg")
        assert reason in listed["error"]


def test_parts_without_area_are_dropped(tmp_path: Path) -> None:
    data = coco()
    good = outline(*BOXES[0])
    data["annotations"][0]["segmentation"] = [good, [], [1.0, 1.0, 3.0, 3.0], None]
    found = read_masks(save(tmp_path / "a.json", data)).annotations_of(1)
    np.testing.assert_array_equal(decode(found[0].rle), drawn(good))
    assert len(found) == 2


def test_an_invalid_annotation_is_listed_and_its_image_stays(
    invoke: Invoke, tmp_path: Path
) -> None:
    data = coco()
    for i in range(3, 9):
        data["annotations"].append({**copy.deepcopy(data["annotations"][0]), "id": i})
    data["annotations"][4]["segmentation"] = {"size": [H, W], "counts": "zzz"}
    data["annotations"].append({**data["annotations"][0], "id": 99, "image_id": 5})
    source, out = save(tmp_path / "a.json", data), tmp_path / "out.json"
    ran = invoke("convert", "coco", source, "-o", out)
    assert ran.exit_code == 65
    ran = invoke("convert", "coco", source, "-o", out, "--on-error", "skip")
    assert ran.exit_code == 3, ran.stderr
    assert "image 5 is not among the images" in ran.stderr
    assert len(masks_of(out)) == 7
    lines = (tmp_path / "out.json.errors.jsonl").read_text().splitlines()
    listed = [json.loads(line) for line in lines]
    assert sorted(one["annotation_id"] for one in listed) == [5, 99]
    assert {one["stage"] for one in listed} == {"convert"}
    ran = invoke("filter", source, "-o", out, "--on-error", "skip")
    assert ran.exit_code == 3, ran.stderr
    assert len(masks_of(out)) == 7


def test_boxes_alone_are_refused(tmp_path: Path) -> None:
    source = save(tmp_path / "a.json", each(coco(), segmentation=[]))
    with pytest.raises(MaskFileError, match="none of its 2 annotations has a mask"):
        read_masks(source)


def test_images_of_one_name_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data, other = coco(), coco(id=2)
    data["images"] += other["images"]
    read_masks(save(tmp_path / "a.json", data))
    assert "such as a.jpg (ids 1 and 2)" in caplog.text


def results_of(**keys: Any) -> list[dict[str, Any]]:
    return [
        {"category_id": 0, "score": 0.9, "segmentation": text_rle(drawn(outline(*box)))} | keys
        for box in BOXES
    ]


def instances(**keys: Any) -> list[dict[str, Any]]:
    """Results of Detectron2 (`coco_instances_results.json`) and MMDetection (`.segm.json`)."""
    found = results_of(image_id=1, category_id=17, **keys)
    return [{**one, "bbox": list(map(float, b))} for one, b in zip(found, BOXES, strict=True)]


def test_results_of_frameworks(invoke: Invoke, tmp_path: Path) -> None:
    truth, out = save(tmp_path / "gt.json", coco()), tmp_path / "out.json"
    results = save(tmp_path / "coco_instances_results.json", instances())
    ran = invoke("evaluate", truth, results, "-o", "-")
    assert json.loads(ran.stdout)["metrics"]["AP"] == 1, ran.stderr
    Image.fromarray(np.zeros((H, W, 3), np.uint8)).save(tmp_path / "a.jpg")
    features = tmp_path / "f.h5"
    assert (
        invoke("extract-features", tmp_path / "a.jpg", "--size", 64, "-o", features).exit_code == 0
    )
    for line in (
        ("divide", features, "--detections", results),
        ("merge", "--union", truth, results),
    ):
        ran = invoke(*line, "-o", out)
        assert ran.exit_code == 0, ran.stderr
        wanted = [drawn(outline(*box)) for box in BOXES]
        for mask, expected in zip(masks_of(out), wanted, strict=True):
            np.testing.assert_array_equal(mask, expected)


def test_ids_that_are_names_belong_to_their_images(invoke: Invoke, tmp_path: Path) -> None:
    """They are numbered in the order of the file, which need not be that of the images."""
    for name in ("a", "b"):
        Image.fromarray(np.zeros((H, W, 3), np.uint8)).save(tmp_path / f"{name}.png")
    features, results = tmp_path / "f.h5", tmp_path / "predictions.json"
    pictures = (tmp_path / "a.png", tmp_path / "b.png")
    ran = invoke("extract-features", *pictures, "--size", 64, "-o", features)
    assert ran.exit_code == 0, ran.stderr
    for names, code in (("ab", 0), ("ba", 65)):
        save(results, [one for name in names for one in results_of(image_id=name)])
        for line in (
            ("divide", features, "--detections", results),
            ("extract-features", *pictures, "--regions", results, "--region-size", 64),
        ):
            ran = invoke(*line, "-o", tmp_path / "out")
            assert ran.exit_code == code, ran.stderr
            assert code == 0 or "image 1 is b there and a.png here" in ran.stderr


@pytest.mark.parametrize(
    ("image", "keys"),
    [
        ({"file_name": "images/a b.jpg"}, {"image_id": "a b"}),  # Ultralytics
        ({"file_name": "images/a b.jpg"}, {"image_id": "a b", "file_name": "a b.jpg"}),
        ({"file_name": "0007.jpg"}, {"image_id": 7, "file_name": "0007.jpg"}),
        ({"file_name": "x\\a%20b.jpg"}, {"image_id": "a b"}),
    ],
)
def test_results_are_matched_by_the_names_that_they_have(
    image: dict[str, Any], keys: dict[str, Any], invoke: Invoke, tmp_path: Path
) -> None:
    truth = save(tmp_path / "gt.json", coco(**image))
    results = save(tmp_path / "r.json", results_of(**keys))
    ran = invoke("evaluate", truth, results, "--match", "file-name", "-o", "-")
    assert json.loads(ran.stdout)["metrics"]["AP"] == 1, ran.stderr


def test_ids_that_are_text_match_as_text(invoke: Invoke, tmp_path: Path) -> None:
    truth = save(tmp_path / "gt.json", coco(id="b-2"))
    results = save(tmp_path / "r.json", results_of(image_id="b-2"))
    ran = invoke("evaluate", truth, results, "-o", "-")
    assert json.loads(ran.stdout)["metrics"]["AP"] == 1, ran.stderr


def test_crowds_that_are_masks(invoke: Invoke, tmp_path: Path) -> None:
    data = cvat()
    truth = save(tmp_path / "gt.json", data)
    results = save(tmp_path / "r.json", results_of(image_id=1))
    ran = invoke("evaluate", truth, results)
    assert ran.exit_code == 65
    assert "only 2 crowd regions (iscrowd is 1); --crowds masks" in ran.stderr
    data["annotations"][0]["iscrowd"] = 0
    data["annotations"].append({**data["annotations"][1], "id": 3})
    save(truth, data)
    ran = invoke("evaluate", truth, results, "-o", "-")
    assert ran.exit_code == 0, ran.stderr
    assert "2 of 3 annotations are crowd regions" in ran.stderr
    assert "crowds" not in json.dumps(json.loads(ran.stdout)["unsam"]["history"][-1]["options"])
    ran = invoke("evaluate", truth, results, "-o", "-", "--crowds", "masks")
    report = json.loads(ran.stdout)
    assert (report["ground_truths"], report["crowds"]) == (3, 0)
    assert report["unsam"]["history"][-1]["options"]["crowds"] == "masks"
    ran = invoke("filter", truth, "-o", tmp_path / "f.json")
    assert "crowd" not in ran.stderr  # it has no --crowds
    ran = invoke("convert", "--to", "results", truth)
    assert len(json.loads(ran.stdout)) == 1
    assert "left out 2 crowd regions, which results cannot hold" in ran.stderr


def test_ground_truth_without_pixels_is_left_out(invoke: Invoke, tmp_path: Path) -> None:
    data = coco()
    empty = {"size": [H, W], "counts": [H * W]}
    data["annotations"].append({**data["annotations"][0], "id": 3, "segmentation": empty})
    data["annotations"].append({**data["annotations"][0], "id": 4, "segmentation": [], "area": 0})
    truth = save(tmp_path / "gt.json", data)
    results = save(tmp_path / "r.json", results_of(image_id=1))
    ran = invoke("evaluate", truth, results, "-o", "-")
    report = json.loads(ran.stdout)
    assert (report["ground_truths"], report["metrics"]["AR@100"]) == (2, 1)
    assert "1 mask of the ground truth without a pixel, left out" in ran.stderr
    assert "left out 1 of 4 annotations" in ran.stderr


def test_a_bad_prediction_costs_only_itself(invoke: Invoke, tmp_path: Path) -> None:
    truth = save(tmp_path / "gt.json", coco())
    found = results_of(image_id=1)
    found.append({**found[0], "segmentation": {"size": [H, W], "counts": "zzz"}})
    results = save(tmp_path / "r.json", found)
    assert invoke("evaluate", truth, results).exit_code == 65
    ran = invoke("evaluate", truth, results, "--on-error", "skip", "-o", tmp_path / "report.json")
    assert ran.exit_code == 3, ran.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["predictions"], report["skipped"], report["metrics"]["AP"]) == (2, 0, 1)
    listed = json.loads((tmp_path / "report.json.errors.jsonl").read_text())
    assert "record 3" in str(listed["annotation_id"])
