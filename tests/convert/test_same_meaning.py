"""What other programs say in other words means the same; what belongs to no image is told."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support import Invoke

from unsam_cli.errors import MaskFileError
from unsam_cli.io.masks import read_masks
from unsam_cli.io.names import Pictures, canonical, paired
from unsam_cli.rle import decode, encode

H, W = 20, 30
Data = dict[str, Any]


def mask(i: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    found = np.zeros((H, W), bool)
    found[2 + i : 9 + i, 3 : 12 + i] = True
    return found


def coco(name: str = "a.png", *, first: int = 1) -> Data:
    rles = [encode(mask(i)) for i in range(2)]
    return {
        "images": [{"id": 1, "file_name": name, "height": H, "width": W}],
        "annotations": [
            {"id": first + i, "image_id": 1, "category_id": 1, "iscrowd": 0, "score": 0.5 + i / 4}
            | {"segmentation": {"size": [H, W], "counts": rle["counts"].decode()}}
            for i, rle in enumerate(rles)
        ],
    }


def each(**values: Any) -> Callable[[Data], None]:
    def change(data: Data) -> None:
        for one in data["annotations"]:
            one.update(values)

    return change


def without_size(data: Data) -> None:
    for one in data["annotations"]:
        one["segmentation"]["size"] = None


def with_null(data: Data) -> None:
    data["annotations"].insert(1, None)
    data["images"].append(None)


def listed_again(data: Data) -> None:
    data["images"] *= 3


def long_ids(data: Data) -> None:
    data["images"][0]["id"] = 2**63 + 1
    each(image_id=2**63 + 1)(data)


def save(path: Path, data: Any) -> Path:
    path.write_text(json.dumps(data))
    return path


@pytest.mark.parametrize(
    ("change", "score"),
    [
        (each(iscrowd="false"), 0.5),
        (each(iscrowd=False), 0.5),
        (each(score="5e-1"), 0.5),
        (each(score=float("nan"), parent_id=float("nan"), category_id=float("nan")), None),
        (each(level=float("nan"), granularity=float("nan"), iscrowd=float("nan")), 0.5),
        (each(level="hard", stage=3, parent_id="x", granularity=[]), 0.5),
        (without_size, 0.5),
        (with_null, 0.5),
        (listed_again, 0.5),
        (long_ids, 0.5),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_the_same_is_read_as_the_same(
    change: Callable[[Data], None], score: float | None, tmp_path: Path
) -> None:
    data = coco()
    change(data)
    found = read_masks(save(tmp_path / "a.json", data)).annotations_of(1)
    for i, one in enumerate(found):
        np.testing.assert_array_equal(decode(one.rle), mask(i))
        assert (one.iscrowd, one.parent_id, one.level) == (False, None, None)
    assert found[0].score == score
    assert len(found) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (each(iscrowd="maybe"), "iscrowd must be 0 or 1, got 'maybe'"),
        (each(score="high"), "score must be a finite number, got 'high'"),
        (each(score="inf"), "score must be a finite number"),
    ],
)
def test_what_means_nothing_is_refused(
    change: Callable[[Data], None], message: str, tmp_path: Path
) -> None:
    data = coco()
    change(data)
    with pytest.raises(MaskFileError, match=message):
        read_masks(save(tmp_path / "a.json", data)).annotations_of(1)


def test_one_id_for_two_images_is_refused(tmp_path: Path) -> None:
    data = coco()
    data["images"].append({**data["images"][0], "file_name": "b.png"})
    with pytest.raises(MaskFileError, match=r"image id 1 is taken by a\.png"):
        read_masks(save(tmp_path / "a.json", data))


def test_what_pandas_leaves_out_is_null_in_the_output(invoke: Invoke, tmp_path: Path) -> None:
    data = coco()
    each(iou=float("nan"))(data)
    ran = invoke("filter", save(tmp_path / "a.json", data))
    assert [a["iou"] for a in json.loads(ran.stdout)["annotations"]] == [None, None]
    assert "NaN" not in ran.stdout


def test_an_area_below_0_is_none(tmp_path: Path) -> None:
    """Or its mask would be in no range of sizes, and no metric would be defined."""
    data = coco()
    each(area=-5)(data)
    found = read_masks(save(tmp_path / "a.json", data)).annotations_of(1)
    assert [a.area for a in found] == [mask(0).sum(), mask(1).sum()]


def test_what_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(json.dumps(coco("ä.png"), ensure_ascii=False).encode("latin-1"))
    with pytest.raises(MaskFileError, match=r"record 1 of the images: .* not UTF-8; save"):
        read_masks(path)


def test_what_macos_hides_in_a_zip(tmp_path: Path) -> None:
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("__MACOSX/a/._a.json", "a/._a.json", ".DS_Store", "a/.cache/b.json"):
            archive.writestr(name, "x")
    with pytest.raises(MaskFileError, match="is a ZIP without a JSON file"):
        read_masks(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a/a.json", json.dumps(coco()))
    assert len(read_masks(path)) == 2


def test_an_id_of_0_is_listed_as_it_is(invoke: Invoke, tmp_path: Path) -> None:
    data = coco(first=0)
    data["annotations"][0]["segmentation"] = []
    ran = invoke("filter", save(tmp_path / "a.json", data), "-o", tmp_path / "out.json")
    assert "such as annotation 0: " in ran.stderr
    assert json.loads((tmp_path / "out.json.errors.jsonl").read_text())["annotation_id"] == 0


def test_ids_of_predictions_do_not_matter(invoke: Invoke, tmp_path: Path) -> None:
    truth, results = coco(), coco()["annotations"]
    for one in results:
        one["id"] = 0
    save(tmp_path / "gt.json", truth)
    save(tmp_path / "r.json", results)
    ran = invoke("evaluate", tmp_path / "gt.json", tmp_path / "r.json", "-o", "-")
    assert json.loads(ran.stdout)["metrics"]["AP"] == 1, ran.stderr


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((H, W, 3), np.uint8)).save(tmp_path / "images" / name)
    return tmp_path


EXTRACT = ("extract-features", "images", "--size", 64)
REGIONS = (*EXTRACT, "--region-size", 64, "--regions")


@pytest.mark.parametrize("command", ["divide", "extract-features", "merge"])
def test_names_that_differ_in_their_folders_are_one(
    command: str, pictures: Path, invoke: Invoke
) -> None:
    masks = save(pictures / "masks.json", coco("C:\\data\\set 1\\a.png"))
    other = save(pictures / "other.json", coco("a.png"))
    assert invoke(*EXTRACT, "-o", "f.h5").exit_code == 0
    words = {
        "divide": ("divide", "f.h5", "--detections", masks),
        "extract-features": (*REGIONS, masks),
        "merge": ("merge", "--union", other, masks),
    }[command]
    ran = invoke(*words, "-o", "out")
    assert ran.exit_code == 0, ran.stderr
    save(masks, coco("x/b.png"))
    ran = invoke(*words, "-o", "out")
    assert ran.exit_code == 65
    assert "x/b.png" in ran.stderr


def test_masks_of_other_images_are_told(pictures: Path, invoke: Invoke) -> None:
    """They are not in the list, and all results would be empty."""
    results = coco()["annotations"]
    assert invoke(*EXTRACT, "-o", "f.h5").exit_code == 0
    for ids, code, told in (
        ((1, 2), 0, ""),
        ((1, 7), 0, "left out 1 mask of images that are not given, such as image 7"),
        ((7, 8), 65, "has no mask of the images, whose ids begin with 1, but of image 7"),
    ):
        for one, image_id in zip(results, ids, strict=True):
            one["image_id"] = image_id
        masks = save(pictures / "masks.json", results)
        for words in (("divide", "f.h5", "--detections", masks), (*REGIONS, masks)):
            ran = invoke(*words, "-o", "out")
            assert ran.exit_code == code, ran.stderr
            assert told in ran.stderr
            assert told or "not given" not in ran.stderr


def test_a_shard_has_some_of_the_images(pictures: Path, invoke: Invoke) -> None:
    results = save(pictures / "masks.json", coco()["annotations"])
    assert invoke(*EXTRACT, "--shard", "1/2", "-o", "f.h5").exit_code == 0
    ran = invoke("divide", "f.h5", "--detections", results, "-o", "out.json")
    assert ran.exit_code == 0, ran.stderr
    assert "not given" not in ran.stderr


@pytest.mark.parametrize(
    "name",
    ["a%2520b.png", "sub/a%20b.png?x=1", "/data/local-files/?d=sub/a%20b.png", "sub%5Ca+b.png"],
)
def test_names_that_are_encoded_twice_or_as_forms(name: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a b.png").touch()
    assert Pictures(tmp_path).find(name.replace("%5C", "/")) == tmp_path / "sub" / "a b.png"


def test_a_plus_in_a_name_is_a_plus_first(tmp_path: Path) -> None:
    for name in ("a+b.png", "a b.png"):
        (tmp_path / name).touch()
    assert Pictures(tmp_path).find("a+b.png") == tmp_path / "a+b.png"
    assert canonical("a+b.png") != canonical("a b.png")


def test_base_names_pair_where_they_are_unambiguous() -> None:
    assert paired(["a.png", "x/b.png"], ["y/a.png", "x\\b.png"]) == {
        "a.png": "y/a.png",
        "x/b.png": "x\\b.png",
    }
    assert paired(["1/a.png", "2/a.png"], ["a.png"]) == {}
    assert paired(["a.png"], ["1/a.png", "2/a.png"]) == {}
    assert paired(["1/a.png", "a.png"], ["2/a.png", "a.png"]) == {"a.png": "a.png"}
