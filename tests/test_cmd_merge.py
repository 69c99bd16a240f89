"""``unsam merge --union``: UnSAM+. Shards are tested with the commands that make them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from support import Invoke

from unsam_cli.convert.union import novel, union
from unsam_cli.errors import DataError, UsageError
from unsam_cli.rle import encode

Mask = NDArray[np.bool_]
SIZE = (40, 50)


def block(x: int, y: int, w: int, h: int) -> Mask:
    mask = np.zeros(SIZE, dtype=bool)
    mask[y : y + h, x : x + w] = True
    return mask


def row(image_id: int, mask: Mask, **extra: Any) -> dict[str, Any]:
    rle = encode(mask)
    segmentation = {"size": list(rle["size"]), "counts": rle["counts"].decode()}
    return {"image_id": image_id, "category_id": 1, "segmentation": segmentation, **extra}


def write(path: Path, rows: list[dict[str, Any]], images: dict[int, str] | None) -> Path:
    numbered = [{"id": k, **r} for k, r in enumerate(rows, start=1)]
    data: Any = numbered
    if images is not None:
        entries = [
            {"id": i, "file_name": name, "height": SIZE[0], "width": SIZE[1]}
            for i, name in images.items()
        ]
        data = {"images": entries, "annotations": numbered}
    path.write_text(json.dumps(data))
    return path


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    rows = [
        row(1, block(0, 0, 20, 20), predicted_iou=0.9),
        row(2, block(5, 5, 10, 10), iscrowd=1, area=100.5),
    ]
    return write(tmp_path / "sa1b.json", rows, {1: "a.jpg", 2: "b.jpg", 5: "e.jpg"})


def test_files_with_other_numbers_are_refused(truth: Path, invoke: Invoke, tmp_path: Path) -> None:
    """Their images would appear twice, each with a part of the masks."""
    other = write(tmp_path / "other.json", [row(7, block(0, 0, 9, 9))], {7: "./a.jpg"})
    ran = invoke("merge", "--union", truth, other, "-o", tmp_path / "out.json")
    assert ran.exit_code == 65
    assert "a.jpg is image 1 in " in ran.stderr


@pytest.mark.parametrize("how", [["--union"], ["--snap", 0.5]])
@pytest.mark.parametrize(
    "bad", [{"size": list(SIZE), "counts": "zzz"}, {"size": [3, 3], "counts": "9"}]
)
def test_a_bad_mask_costs_only_itself(
    how: list[object],
    bad: dict[str, Any],
    truth: Path,
    pseudo: Path,
    invoke: Invoke,
    tmp_path: Path,
) -> None:
    data = json.loads(pseudo.read_text())
    data["annotations"][1]["segmentation"] = bad
    pseudo.write_text(json.dumps(data))
    out = tmp_path / "plus.json"
    assert invoke("merge", *how, truth, pseudo, "-o", out).exit_code == 65
    ran = invoke("merge", *how, truth, pseudo, "-o", out, "--on-error", "skip")
    assert ran.exit_code == 3, ran.stderr
    assert len(json.loads(out.read_text())["annotations"]) == (5 if how[0] == "--union" else 2)
    listed = json.loads((tmp_path / "plus.json.errors.jsonl").read_text())
    assert (listed["file_name"], listed["annotation_id"]) == ("a.jpg", 2)
    ran = invoke("merge", truth, pseudo, "--on-error", "skip")
    assert ran.exit_code == 2
    assert "--on-error skip is for --union and --snap" in ran.stderr


@pytest.fixture
def pseudo(tmp_path: Path) -> Path:
    rows = [
        row(1, block(0, 0, 20, 19), score=0.9),  # the same thing
        row(1, block(25, 25, 10, 10), score=0.8, level=0.3, stage="conquer", parent_id=99),
        row(1, block(25, 25, 4, 4), score=0.7),  # a part of that
        row(1, block(2, 2, 2, 4), score=0.6),  # IoU 8 / 400 = 0.02: kept
        row(1, block(2, 2, 3, 3), score=0.5),  # IoU 9 / 400: not
        row(3, block(1, 1, 2, 2), score=0.4),
    ]
    return write(tmp_path / "pseudo.json", rows, {1: "a.jpg", 2: "b.jpg", 3: "c.jpg"})


def test_union(
    truth: Path,
    pseudo: Path,
    invoke: Invoke,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "plus.json"
    ran = invoke("merge", "--union", truth, pseudo, "-o", out)
    assert ran.exit_code == 0, ran.stderr
    assert "2 masks of sa1b.json, 4 of 6 masks of pseudo.json (IoU at most 0.02)" in ran.stderr
    assert "4 images, of which 1 only in sa1b.json and 1 only in pseudo.json" in ran.stderr
    data = COCO(out).dataset
    capsys.readouterr()
    assert [i["id"] for i in data["images"]] == [1, 2, 3, 5]
    shown = [
        (a["id"], a["image_id"], a["source"], a.get("score"), a["parent_id"])
        for a in data["annotations"]
    ]
    assert shown == [
        (1, 1, "sa1b.json", None, None),
        (2, 1, "pseudo.json", 0.8, None),
        (3, 1, "pseudo.json", 0.7, 2),
        (4, 1, "pseudo.json", 0.6, 1),
        (5, 2, "sa1b.json", None, None),
        (6, 3, "pseudo.json", 0.4, None),
    ]
    first, second, part, small, crowd, _ = data["annotations"]
    assert first["predicted_iou"] == 0.9
    assert (second["level"], second["stage"]) == (0.3, "conquer")
    assert (crowd["iscrowd"], crowd["area"], second["area"]) == (1, 100.5, 100)
    assert [a["granularity"] for a in (first, second, part, small)] == [1.0, 1.0, 0.1, 0.1]
    step = data["info"]["unsam"]["history"][-1]
    assert step["options"] == {"union": True, "max-iou": 0.02, "ranked": False, "snap": None}
    assert set(step["inputs"]) == {"first", "second"}


def test_ranked_puts_the_first_file_above_the_second(
    truth: Path, pseudo: Path, invoke: Invoke, tmp_path: Path
) -> None:
    out = tmp_path / "plus.json"
    ran = invoke("merge", "--union", pseudo, truth, "--ranked", "--max-iou", 1, "-o", out)
    assert ran.exit_code == 0, ran.stderr
    found = COCO(out).dataset["annotations"]
    rescored = {a["score"] for a in found if a["source"] == "pseudo.json"}
    before = {a["score"] for a in COCO(pseudo).dataset["annotations"]}
    assert rescored == {(1 + score) / 2 for score in before}
    assert {a["score"] for a in found if a["source"] == "sa1b.json"} == {0.5}


def test_a_score_that_cannot_be_ranked_is_told_with_its_file(
    truth: Path, pseudo: Path, invoke: Invoke, tmp_path: Path
) -> None:
    data = json.loads(pseudo.read_text())
    data["annotations"][1]["score"] = 1.5
    pseudo.write_text(json.dumps(data))
    for pair in ((pseudo, truth), (truth, pseudo)):
        ran = invoke("merge", "--union", *pair, "--ranked", "-o", tmp_path / "plus.json")
        assert ran.exit_code == 65
        number = data["annotations"][1]["id"]
        assert f"{pseudo}: annotation {number} has the score 1.5" in ran.stderr


def test_snapped_masks_have_the_shapes_of_the_other_file(invoke: Invoke, tmp_path: Path) -> None:
    names = {1: "a.jpg", 2: "b.jpg"}
    found = [
        row(1, block(10, 10, 20, 20), score=0.9),
        row(1, block(40, 30, 8, 8), score=0.5),
        row(2, block(0, 0, 9, 9), score=0.4),
    ]
    pseudo = [
        row(1, block(12, 10, 20, 20), score=0.3),
        row(1, block(11, 10, 20, 20), score=0.2),
        row(1, block(40, 30, 8, 4), score=0.8),
    ]
    one, two = (
        write(tmp_path / "found.json", found, names),
        write(tmp_path / "p.json", pseudo, names),
    )
    out = tmp_path / "snapped.json"
    ran = invoke("merge", "--snap", 0.6, one, two, "-o", out)
    assert ran.exit_code == 0, ran.stderr
    assert "snap: 1 of 3 masks of found.json take the shape of one of p.json" in ran.stderr
    shown = [
        (a["image_id"], a["source"], a["score"], coco_mask.toBbox(a["segmentation"]).tolist())
        for a in COCO(out).dataset["annotations"]
    ]
    # The most similar one, not the best.
    assert shown == [
        (1, "p.json", 0.9, [11, 10, 20, 20]),
        (1, "found.json", 0.5, [40, 30, 8, 8]),
        (2, "found.json", 0.4, [0, 0, 9, 9]),
    ]
    ran = invoke("merge", "--snap", 0.6, "--union", one, two)
    assert ran.exit_code == 2
    assert "--union and --snap combine files in two ways" in ran.stderr


def test_the_threshold_decides(truth: Path, pseudo: Path, tmp_path: Path) -> None:
    kept = [
        union(truth, pseudo, max_iou=limit, output=str(tmp_path / "o.json")).kept
        for limit in (0.0, 0.0199, 0.02, 0.03, 1.0)
    ]
    assert kept == [3, 3, 4, 5, 6]


def test_a_bare_list_takes_its_images_from_the_other_file(truth: Path, tmp_path: Path) -> None:
    rows = [row(1, block(30, 30, 5, 5), score=0.5)]
    results = write(tmp_path / "results.json", rows, None)
    for pair, kept in (((truth, results), 1), ((results, truth), 2)):
        counts = union(*pair, output=str(tmp_path / "o.json"))
        assert (counts.images, counts.kept) == (3, kept)
    strange = write(tmp_path / "strange.json", [row(8, block(1, 1, 2, 2))], None)
    with pytest.raises(DataError, match=r"image 8: neither .*sa1b\.json nor"):
        union(truth, strange, output=str(tmp_path / "o.json"))


def test_a_folder_of_sa1b(pseudo: Path, tmp_path: Path, invoke: Invoke) -> None:
    folder = tmp_path / "sa1b"
    ran = invoke("convert", "--to", "sa1b", pseudo, "-o", folder)
    assert ran.exit_code == 0, ran.stderr
    counts = union(folder, pseudo, output=str(tmp_path / "o.json"))
    assert (counts.first, counts.kept) == (6, 0)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda d: d["images"][0].update(file_name="x.jpg"), "image 1 is a.jpg (40x50) in"),
        (lambda d: d["images"][0].update(width=51), "and a.jpg (40x51) in"),
        (lambda d: d["annotations"][0].update(segmentation=[]), "annotation 1"),
    ],
)
def test_files_that_do_not_fit_are_refused(
    change: Callable[[Any], object],
    text: str,
    truth: Path,
    pseudo: Path,
    invoke: Invoke,
    tmp_path: Path,
) -> None:
    data = json.loads(pseudo.read_text())
    change(data)
    data["annotations"][0]["segmentation"] = data["annotations"][0]["segmentation"] or {"size": 3}
    pseudo.write_text(json.dumps(data))
    ran = invoke("merge", "--union", truth, pseudo, "-o", tmp_path / "o.json")
    assert ran.exit_code == 65, ran.stderr
    assert text in ran.stderr
    assert not (tmp_path / "o.json").exists()


def test_results_of_another_size_are_refused(truth: Path, tmp_path: Path) -> None:
    bad = row(1, block(1, 1, 3, 3))
    rle = encode(np.ones((50, 40), dtype=bool))
    bad["segmentation"] = {"size": [50, 40], "counts": rle["counts"].decode()}
    results = write(tmp_path / "results.json", [bad], None)
    with pytest.raises(DataError, match="annotation 1 is of 50x40 pixels, but image 1 has 40x50"):
        union(truth, results, output=str(tmp_path / "o.json"))


def test_wrong_numbers_of_files(truth: Path, pseudo: Path, invoke: Invoke, tmp_path: Path) -> None:
    for files, text in (
        ((truth,), "--union needs two files, got 1"),
        ((truth, pseudo, truth), "got 3"),
        ((truth, truth), "given twice"),
    ):
        ran = invoke("merge", "--union", *files, "-o", tmp_path / "o.json")
        assert ran.exit_code == 2
        assert text in ran.stderr
    ran = invoke("merge", "--union", truth, tmp_path / "no.json")
    assert ran.exit_code == 66
    assert "no.json" in ran.stderr


def test_equal_names_are_told_apart(truth: Path, pseudo: Path, tmp_path: Path) -> None:
    for name, path in (("one", truth), ("two", pseudo)):
        (tmp_path / name).mkdir()
        path.rename(tmp_path / name / "masks.json")
    out = tmp_path / "o.json"
    union(tmp_path / "one" / "masks.json", tmp_path / "two" / "masks.json", output=str(out))
    sources = {a["source"] for a in json.loads(out.read_text())["annotations"]}
    assert sources == {"one/masks.json", "two/masks.json"}
    with pytest.raises(UsageError):
        union(tmp_path / "one" / "masks.json", tmp_path / "two" / ".." / "one" / "masks.json")


def test_the_same_bytes_whatever_the_jobs(truth: Path, pseudo: Path, tmp_path: Path) -> None:
    for jobs in (1, 4):
        union(truth, pseudo, output=str(tmp_path / f"{jobs}.json"), jobs=jobs)
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "4.json").read_bytes()


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.02, 0.3, 1.0]))
def test_novel_masks_against_pycocotools(seed: int, limit: float) -> None:
    rng = np.random.default_rng(seed)
    sets = []
    for _ in range(2):
        boxes = rng.integers((0, 0, 0, 0), (30, 30, 20, 20), (int(rng.integers(0, 6)), 4))
        sets.append([encode(block(*map(int, b))) for b in boxes])
    first, second = sets
    if first and second:
        highest = coco_mask.iou(first, second, [0] * len(second)).max(axis=0)
        expected = np.nan_to_num(highest) <= limit  # two empty masks
    else:
        expected = np.ones(len(second), dtype=bool)
    np.testing.assert_array_equal(novel(first, second, limit), expected)


def test_parts_of_an_evaluation_make_the_report_of_one_run(invoke: Invoke, tmp_path: Path) -> None:
    images = {i: f"{i}.jpg" for i in (1, 2, 3)}
    truth = write(tmp_path / "gt.json", [row(i, block(5, 5, 9 + i, 9)) for i in images], images)
    found = [row(i, block(5, 6, 9 + i, 9), score=i / 4) for i in images]
    masks = write(tmp_path / "m.json", found, images)
    parts = [tmp_path / f"part{k}.json" for k in range(2)]
    for k, part in enumerate(parts):
        ran = invoke("evaluate", truth, masks, "--shard", f"{k}/2", "-o", part)
        assert ran.exit_code == 0, ran.stderr
    assert invoke("evaluate", truth, masks, "-o", tmp_path / "one.json").exit_code == 0
    ran = invoke("merge", *parts[::-1], "-o", tmp_path / "merged.json")
    assert ran.exit_code == 0, ran.stderr
    assert (tmp_path / "merged.json").read_bytes() == (tmp_path / "one.json").read_bytes()
    ran = invoke("merge", parts[0], "-o", tmp_path / "half.json")
    assert ran.exit_code == 65
    assert not (tmp_path / "half.json").exists()
