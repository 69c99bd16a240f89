from __future__ import annotations

import gzip
import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask as cocomask

from unsam_cli import rle
from unsam_cli.errors import MaskFileError, MissingInputError
from unsam_cli.io.image_entries import ImageInfo
from unsam_cli.io.masks import MasksFile, read_masks
from unsam_cli.io.masks_writer import write_masks

H, W = 10, 14
POLYGON = [[2.0, 1.0, 9.0, 1.0, 9.0, 7.0, 2.0, 7.0]]


def mask(seed: int) -> rle.Rle:
    return rle.encode(np.random.default_rng(seed).random((H, W)) > 0.5)


def text_of(coded: rle.Rle) -> dict[str, Any]:
    return {"size": coded["size"], "counts": coded["counts"].decode()}


def images() -> list[dict[str, Any]]:
    return [{"id": i, "file_name": f"{i}.jpg", "height": H, "width": W} for i in (3, 1, 2)]


def sample() -> list[dict[str, Any]]:
    """Six masks of images 1 and 3, mixed, in all forms of segmentation."""
    counts = np.diff([0, *rle.to_runs(mask(4)).ravel(), H * W]).tolist()
    forms = [text_of(mask(0)), POLYGON, text_of(mask(2)), text_of(mask(3))]
    forms += [{"size": [H, W], "counts": counts}, {"size": [H, W], "counts": [H * W]}]
    return [
        {"id": 10 + i, "image_id": 3 if i % 2 else 1, "category_id": 0, "segmentation": form}
        for i, form in enumerate(forms)
    ]


def coco() -> dict[str, Any]:
    return {"info": {"year": 2024}, "images": images(), "annotations": sample()}


def save(value: Any, path: Path, **options: Any) -> Path:
    path.write_text(json.dumps(value, **options))
    return path


def ids(found: MasksFile) -> dict[int, list[int]]:
    return {m.image["id"]: [a.id for a in m.annotations] for m in found.image_masks()}


@pytest.mark.parametrize("options", [{}, {"indent": 2}, {"separators": (",", ":")}])
@pytest.mark.parametrize("order", [1, -1])
def test_coco_in_any_layout(tmp_path: Path, options: dict[str, Any], order: int) -> None:
    value = dict(list(coco().items())[::order])
    found = read_masks(save(value, tmp_path / "a.json", **options))
    assert len(found) == 6
    assert found.info == {"year": 2024}
    assert found.images[3] == ImageInfo(3, "3.jpg", H, W)
    assert ids(found) == {1: [10, 12, 14], 2: [], 3: [11, 13, 15]}
    assert found.image_ids == [1, 2, 3]
    assert found.annotations_of(99) == []
    one = found.annotations_of(1)
    assert [a.rle for a in one] == [mask(0), mask(2), mask(4)]
    assert one[0].segmentation is one[0].rle
    drawn = cocomask.merge(cocomask.frPyObjects(POLYGON, H, W))
    three = found.annotations_of(3)
    assert three[0].rle["counts"] == drawn["counts"]
    assert three[0].area == int(cocomask.area(drawn))
    assert three[0].bbox == tuple(cocomask.toBbox(drawn))
    assert (three[2].area, three[2].bbox) == (0, (0, 0, 0, 0))


def test_every_key(tmp_path: Path) -> None:
    record = {
        "id": 7,
        "image_id": 5,
        "category_id": 0,
        "iscrowd": 1,
        "segmentation": text_of(mask(0)),
        "bbox": [1.5, 2, 3, 4],
        "area": 12.5,
        "score": 0.25,
        "parent_id": 6,
        "level": 0.3,
        "stage": "conquer",
        "granularity": 0.7,
        "annotator": "me",
        "predicted_iou": 0.9,
    }
    one = read_masks(save([record], tmp_path / "a.json")).annotations_of(5)[0]
    assert (one.id, one.image_id, one.category_id, one.iscrowd) == (7, 5, 0, True)
    assert (one.bbox, one.area, one.score) == ((1.5, 2, 3, 4), 12.5, 0.25)
    assert (one.parent_id, one.level, one.stage, one.granularity) == (6, 0.3, "conquer", 0.7)
    assert one.extra == {"annotator": "me", "predicted_iou": 0.9}


def test_defaults(tmp_path: Path) -> None:
    record = {"image_id": 5, "segmentation": text_of(mask(0)), "score": None, "parent_id": None}
    found = read_masks(save([record, record], tmp_path / "a.json"))
    assert found.images == {}
    assert [m.image for m in found.image_masks()] == [{"id": 5}]
    two = found.annotations_of(5)[1]
    assert (two.id, two.category_id, two.iscrowd, two.score) == (2, 1, False, None)
    assert (two.parent_id, two.level, two.stage, two.granularity) == (None,) * 4
    assert two.extra == {}
    assert two.area == rle.area([mask(0)])[0]


@pytest.mark.parametrize("kind", ["coco", "results", "ndjson"])
@pytest.mark.parametrize("count", [1, 3])
def test_what_we_write_we_read(tmp_path: Path, kind: str, count: int) -> None:
    groups = [
        [
            {"image_id": i, "segmentation": text_of(mask(10 * i + k)), "score": 0.5, "parent": None}
            for k in range(count)
        ]
        for i in (1, 2)
    ]
    path = tmp_path / "a.json"
    with path.open("wb") as stream:
        write_masks(stream, kind, history=[{"version": "1"}], images=images(), groups=groups)
    found = read_masks(path)
    assert [a.rle for a in found.annotations_of(2)] == [mask(20 + k) for k in range(count)]
    assert [a.id for a in found.annotations_of(2)] == list(range(count + 1, 2 * count + 1))
    assert set(found.images) == ({1, 2, 3} if kind == "coco" else set())
    if kind == "coco":
        assert found.info["unsam"]["history"] == [{"version": "1"}]
        shown = next(iter(found.image_masks()))
        assert shown.image == {"id": 1, "file_name": "1.jpg", "height": H, "width": W}


@pytest.mark.parametrize("value", [[], {"images": [], "annotations": []}, {"images": []}])
def test_files_without_masks(tmp_path: Path, value: Any) -> None:
    found = read_masks(save(value, tmp_path / "a.json"))
    assert len(found) == 0
    assert list(found.image_masks()) == []


def sa1b(image_id: int) -> dict[str, Any]:
    image = {"image_id": image_id, "file_name": f"sa_{image_id}.jpg", "height": H, "width": W}
    masks = [
        {"id": 100 + k, "segmentation": text_of(mask(image_id + k)), "predicted_iou": 0.9}
        for k in range(2)
    ]
    return {"annotations": masks, "image": image}


def test_sa1b_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (empty := tmp_path / "empty").mkdir()
    save(sa1b(5), tmp_path / "sa_5.json")
    save({"hidden": 1}, tmp_path / ".state.json")
    (tmp_path / "sa_5.jpg").write_bytes(b"x")
    (tmp_path / "more/sa_2.json.gz").write_bytes(gzip.compress(json.dumps(sa1b(2)).encode()))
    (tmp_path / "more/sa_9.json.gz").write_bytes(gzip.compress(json.dumps(sa1b(9)).encode()))
    assert ids(read_masks(tmp_path / "sa_5.json")) == {5: [100, 101]}
    found = read_masks(tmp_path)
    assert ids(found) == {2: [100, 101], 5: [100, 101], 9: [100, 101]}
    assert [a.rle for a in found.annotations_of(9)] == [mask(9), mask(10)]
    assert found.annotations_of(5)[0].extra == {"predicted_iou": 0.9}
    assert found.images[2].file_name == "sa_2.jpg"
    save(sa1b(5), tmp_path / "sa_6.json")
    with pytest.raises(MaskFileError, match=r"sa_6\.json.*image id 5 is taken"):
        read_masks(tmp_path)
    with pytest.raises(MissingInputError, match=r"has no \.json files"):
        read_masks(empty)


@pytest.mark.parametrize("form", ["coco", "ndjson"])
@pytest.mark.parametrize("packed", [False, True])
def test_gzip_and_other_suffixes(tmp_path: Path, form: str, packed: bool) -> None:
    rest = [a for a in sample() if not isinstance(a["segmentation"], list)]
    lines = "\n".join(map(json.dumps, rest)) + "\n"
    data = json.dumps(coco()).encode() if form == "coco" else lines.encode()
    data = gzip.compress(data) if packed else data
    expected = [10, 12, 14]
    path = tmp_path / "misnamed.txt"
    path.write_bytes(data)
    assert [a.id for a in read_masks(path).annotations_of(1)] == expected
    if packed:
        path.write_bytes(data[:-20])
        with pytest.raises(MaskFileError, match="spam: cannot be read"):
            read_masks(path, name="spam")


def test_byte_order_mark_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(coco()).encode() + b"\n\n")
    assert len(read_masks(path)) == 6
    lines = "\r\n\r\n".join(map(json.dumps, sample()))
    path.write_bytes(b"\xef\xbb\xbf\n" + lines.encode())
    assert len(read_masks(path)) == 6


def edited(**changes: Any) -> dict[str, Any]:
    value = coco()
    value["annotations"][1].update(changes)
    return {**value, "annotations": value["annotations"]}


def without(key: str) -> dict[str, Any]:
    value = coco()
    del value["annotations"][1][key]
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (edited(segmentation={"size": [10, 10], "counts": "0"}),
         "annotation 11 (image 3): segmentation size 10x10 differs from the image's 10x14"),
        (edited(segmentation={"size": [H, W], "counts": "zzz"}), "annotation 11 (image 3): counts"),
        (edited(segmentation={"size": 3, "counts": "zzz"}),
         "annotation 11 (image 3): size must be"),
        (edited(score=math.inf), "annotation 11 (image 3): score must be a finite number, got inf"),
        (edited(score="high"), "score must be a finite number, got 'high'"),
        (edited(iscrowd=2), "iscrowd must be 0 or 1, got 2"),
        (edited(id=12), "records 2 and 3 both have annotation id 12; ids must be unique"),
        (edited(id=True), "record 2 of the annotations: id must be a whole number or text"),
        (edited(id=[1]), "record 2 of the annotations: id must be a whole number or text"),
        (edited(id=10**30), "record 2 of the annotations: id must be a whole number"),
        (edited(image_id=8), "record 2 of the annotations belongs to image 8, which is not among"),
        (edited(image_id=None), "record 2 of the annotations: image_id is missing"),
        (edited(image_id=[3]), "record 2 of the annotations: image_id must be a whole number"),
        (without("image_id"), "record 2 of the annotations: image_id is missing"),
        ({**coco(), "annotations": [5]}, "record 1 of the annotations: must be an object, got b"),
        ({**coco(), "annotations": {}}, "annotations must be a list"),
        ({**coco(), "images": {}}, "images must be a list"),
        ({**coco(), "images": [[]]}, "record 1 of the images: must be an object"),
        ({**coco(), "images": [*images(), {**images()[0], "file_name": "other.png"}]},
         "record 4 of the images: image id 3 is taken by "),
        ({"images": [{"id": 1}]}, "record 1 of the images: file_name must be text, got None"),
        ({"images": [{"id": 1, "file_name": "a", "height": 0, "width": 3}]}, "must be positive"),
        ({"images": [{"id": 1, "file_name": "a", "height": 3}]}, "width must be a whole number"),
        ({"images": [{"id": 1.5, "file_name": "a"}]}, "id must be a whole number or text, got 1.5"),
        ({**coco(), "info": {"unsam": 3}}, "info.unsam is not in the form that unsam writes"),
        ({"scores": [1, 2]}, "has neither images nor annotations"),
        ({}, "has neither images nor annotations"),
        ([{"image_id": 1, "segmentation": POLYGON}],
         "record 1 of the annotations (image 1): polygons need the image's size"),
        ([{"image_id": 1, "segmentation": {"size": 3}}], "size [height, width]"),
        ([[]], "record 1 of the annotations: must be an object"),
        (7, "not JSON: unexpected b'7' at byte 0"),
        ("text", "not JSON: unexpected b'\"' at byte 0"),
    ],
)  # fmt: skip
def test_the_bad_record_is_named(tmp_path: Path, value: Any, message: str) -> None:
    path = save(value, tmp_path / "masks.json")
    with pytest.raises(MaskFileError) as caught:
        list(read_masks(path).image_masks())
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_bad_record_does_not_hide_other_images(tmp_path: Path) -> None:
    found = read_masks(save(edited(score="x"), tmp_path / "a.json"))
    assert len(found.annotations_of(1)) == 3
    with pytest.raises(MaskFileError, match=r"annotation 11 \(image 3\)"):
        found.annotations_of(3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty file"),
        (b"   ", "is blank; masks"),
        (b"\x89HDF\r\n\x1a\n", "is an HDF5 file; .* unsam divide and unsam conquer make them"),
        (b'{"annotations":[', "ends in the middle"),
        (b'{"annotations":[{"id":1', "ends in the middle"),
        (b'{"annotations":[]', "ends in the middle"),
        (b'{"annotations":[]}}', "not JSON: unexpected b'}' at byte 18"),
        (b'{"annotations":[}', "unexpected b'}'"),
        (b'{"annotations":[1 2]}', "unexpected b'2'|must be an object"),
        (b'{"annotations":[,]}', "unexpected b','"),
        (b'{"annotations" []}', r"unexpected b'\['"),
        (b"{annotations:[]}", "unexpected b'a'"),
        (b'{"annotations":[]},', "unexpected b','"),
        (b'{"\\x":[]}', "not JSON"),
        (b'{"\xff\xfe":[]}', "not JSON"),
        (b'[{"id":1}}', "unexpected b'}'"),
        (b'[{"id":"\xff"}]', "record 1 of the annotations: damaged at byte 1"),
        (b"[" * 100_000, "middle"),
        (b"[[" + b"[" * 100_000 + b"]" * 100_000 + b"]]", "record 1 of the annotations"),
        ('{"annotations":[]}'.encode("utf-16"), "is text in UTF-16"),
        (b"<html>", "is an HTML page"),
        (b"\x1f\x8bnonsense", "cannot be read"),
    ],
)
def test_what_is_not_json_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "masks.json"
    path.write_bytes(data)
    with pytest.raises(MaskFileError, match=message) as caught:
        read_masks(path)
    assert str(caught.value).startswith(str(path))


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"none\.json: no such file"):
        read_masks(tmp_path / "none.json")
    with pytest.raises(MaskFileError, match="too long"):
        read_masks(Path("x" * 5000))
    with pytest.raises(MaskFileError, match="null"):
        read_masks(Path("a\0b"))


def test_a_file_that_changes_meanwhile(tmp_path: Path) -> None:
    path = save(coco(), tmp_path / "a.json")
    found = read_masks(path)
    path.write_text("{}")
    with pytest.raises(MaskFileError, match="image 1"):
        found.annotations_of(1)
    path.write_text("1" * 100_000)
    with pytest.raises(MaskFileError, match="the file has changed"):
        found.annotations_of(1)
    path.unlink()
    with pytest.raises(MissingInputError):
        found.annotations_of(1)


def test_records_across_chunks_and_a_wealth_of_them(tmp_path: Path) -> None:
    """More records than one call of the automaton reports, and some longer than a chunk."""
    records = [{"image_id": i % 7, "segmentation": text_of(mask(i % 5))} for i in range(9000)]
    records[77]["note"] = 'brackets ]}" and \\ in a long text ' * 50_000
    path = save(records, tmp_path / "a.json")
    found = read_masks(path)
    assert len(found) == 9000
    assert [a.id for a in found.annotations_of(6)] == list(range(7, 9001, 7))
    assert found.annotations_of(0)[11].extra == {"note": records[77]["note"]}


def test_threads_read_the_same(tmp_path: Path) -> None:
    records = [{"image_id": i % 50, "segmentation": text_of(mask(i))} for i in range(500)]
    found = read_masks(save(records, tmp_path / "a.json"))
    expected = [found.annotations_of(i) for i in range(50)]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(found.annotations_of, list(range(50)) * 4)) == expected * 4


def everything(path: Path) -> None:
    for _ in read_masks(path).image_masks():
        pass


def test_mutated_files_give_only_mask_file_errors(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "fuzzed.json"
    lines = "\n".join(map(json.dumps, sample()))
    refused = 0
    for content in (json.dumps(coco()), json.dumps(sa1b(3)), json.dumps(sample()), lines):
        for _ in range(150):
            data = bytearray(content.encode())
            for _ in range(rng.integers(1, 4)):
                place, kind = int(rng.integers(len(data))), rng.integers(4)
                if kind == 0:
                    data[place] = rng.integers(256)
                elif kind == 1:
                    del data[place : place + int(rng.integers(1, 30))]
                elif kind == 2:
                    data[place:place] = data[place : place + int(rng.integers(1, 30))]
                else:
                    data[place] = rng.choice(list(b'[]{}",:\\0-e9'))
            path.write_bytes(data)
            try:
                everything(path)
            except MaskFileError as error:
                refused += "\n" not in str(error)
    assert refused > 300


KEYS = st.sampled_from(
    ("id", "image_id", "image", "images", "annotations", "segmentation", "size", "counts", "bbox")
) | st.sampled_from(
    ("score", "file_name", "height", "width", "info", "unsam", "iscrowd", "parent_id", "extra")
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(value=st.dictionaries(KEYS, JSON, max_size=4) | JSON)
def test_any_json_is_read_or_refused(tmp_path: Path, value: Any) -> None:
    path = save(value, tmp_path / "any.json")
    try:
        everything(path)
    except MaskFileError:
        return
    json.loads(path.read_text())
