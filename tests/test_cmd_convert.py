"""``unsam convert`` as a user types it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from PIL import Image
from support import Invoke, RunProgram

from unsam_cli.cli import cli
from unsam_cli.convert import stage
from unsam_cli.convert.formats import FOLDERS, READ, WRITE, Request, parse_request
from unsam_cli.convert.sinks import PLACES
from unsam_cli.errors import UsageError
from unsam_cli.rle import encode


def masks(count: int = 6) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    rows = []
    for image_id in range(1, count + 1):
        for _ in range(3):
            x, y, w, h = (int(v) for v in rng.integers((0, 0, 3, 3), (20, 10, 10, 10)))
            mask = np.zeros((20, 30), dtype=bool)
            mask[y : y + h, x : x + w] = True
            rle = encode(mask)
            segmentation = {"size": list(rle["size"]), "counts": rle["counts"].decode()}
            rows.append({"image_id": image_id, "category_id": 1, "segmentation": segmentation})
    rows = [{"id": k, **row} for k, row in enumerate(rows, start=1)]
    images = [
        {"id": i, "file_name": f"{i}.jpg", "height": 20, "width": 30} for i in range(1, count + 1)
    ]
    return {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "entity"}]}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "masks.json"
    path.write_text(json.dumps(masks()))
    return path


@pytest.mark.parametrize(
    ("words", "to", "request_"),
    [
        (["lvis", "a.json"], None, Request("lvis", "a.json", "coco")),
        (["a.json"], "sa1b", Request("coco", "a.json", "sa1b")),
        (["paco", "a.json"], "yolo", Request("paco", "a.json", "yolo")),
        (["polygons", "a.json"], None, Request("coco", "a.json", "polygons")),
        (["-"], "results", Request("coco", "-", "results")),
        (["labelmap", "maps"], None, Request("labelmap", "maps", "coco")),
    ],
)
def test_words_of_the_command_line(words: list[str], to: str | None, request_: Request) -> None:
    assert parse_request(words, to) == request_


@pytest.mark.parametrize(
    ("words", "to", "text"),
    [
        (["a.json"], None, "the format of a.json is missing"),
        (["lvis"], None, "missing after lvis"),
        (["voc", "a"], None, "unknown format 'voc'; one of coco, sa1b"),
        (["lvis", "a", "b"], None, "got 3 words"),
        (["yolo", "a"], "sa1b", "unknown format 'yolo'"),
    ],
)
def test_words_that_make_no_sense(words: list[str], to: str | None, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        parse_request(words, to)


def test_every_format_has_its_code_and_its_section() -> None:
    assert set(stage.OPENERS) == set(READ)
    assert set(stage.PREPARE) == set(WRITE)
    assert set(PLACES) == FOLDERS
    page = (Path(__file__).parents[1] / "docs" / "convert.md").read_text()
    assert [line[4:] for line in page.splitlines() if line.startswith("### ")] == list(READ)
    for name in WRITE:
        assert f"| `{name}` |" in page
    command = cli.get_command(click.Context(cli), "convert")
    assert command is not None
    assert set(READ) <= set(re.findall(r"[\w-]+", command.help or ""))


def test_the_output_keeps_to_the_rules_of_labelling_tools(
    source: Path, invoke: Invoke, tmp_path: Path
) -> None:
    """What FiftyOne's COCODetectionDataset and CVAT's COCO 1.0 document that they need."""
    out = tmp_path / "out.json"
    assert invoke("convert", "coco", source, "-o", out).exit_code == 0
    data = json.loads(out.read_bytes())
    assert {"info", "images", "annotations", "categories"} <= set(data)
    names = {c["id"]: c["name"] for c in data["categories"]}
    sizes = {i["id"]: (i["height"], i["width"]) for i in data["images"]}
    assert min(names) >= 1
    assert len({i["file_name"] for i in data["images"]}) == len(sizes)
    for a in data["annotations"]:
        assert a["category_id"] in names
        height, width = sizes[a["image_id"]]
        x, y, w, h = a["bbox"]
        assert 0 <= x < x + w <= width
        assert 0 <= y < y + h <= height
        assert a["segmentation"]["size"] == [height, width]
        assert isinstance(a["segmentation"]["counts"], str)
        assert isinstance(a["area"], int)


def test_results_depend_neither_on_jobs_nor_shards(
    source: Path, invoke: Invoke, tmp_path: Path
) -> None:
    for k in range(3):
        shard = ["--shard", f"{k}/3", "--jobs", 3]
        assert invoke("convert", "coco", source, "-o", tmp_path / f"{k}", *shard).exit_code == 0
        maps = ["--to", "labelmap", source, "-o", tmp_path / "sharded", *shard]
        assert invoke("convert", *maps).exit_code == 0
    invoke("convert", "coco", source, "-o", tmp_path / "one", "--jobs", 1)
    invoke("merge", *(tmp_path / f"{k}" for k in (2, 0, 1)), "-o", tmp_path / "merged")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "merged").read_bytes()
    invoke("convert", "--to", "labelmap", source, "-o", tmp_path / "maps", "--jobs", 1)
    for i in range(1, 7):
        one, other = (tmp_path / name / f"{i}.png" for name in ("maps", "sharded"))
        assert one.read_bytes() == other.read_bytes()


def test_shards_may_fill_one_folder_at_once(
    source: Path, program: RunProgram, tmp_path: Path
) -> None:
    one = "unsam convert --to sa1b masks.json -o sa1b --shard"
    ran = program(f"{one} 0/2 & first=$!; {one} 1/2 && wait $first")
    assert ran.returncode == 0, ran.stderr.decode()
    assert len(list((tmp_path / "sa1b").iterdir())) == 6
    assert sorted(p.name for p in tmp_path.iterdir()) == ["masks.json", "sa1b"]


def test_shards_of_one_folder_list_their_own_errors(
    source: Path, invoke: Invoke, tmp_path: Path
) -> None:
    data = json.loads(source.read_bytes())
    for row in data["annotations"]:
        if row["image_id"] in (3, 4):
            row["segmentation"]["counts"] = "~"
    source.write_text(json.dumps(data))
    for k in range(3):
        shard = ["--shard", f"{k}/3", "--on-error", "skip"]
        ran = invoke("convert", "--to", "sa1b", source, "-o", tmp_path / "sa1b", *shard)
        assert ran.exit_code == (0 if k == 1 else 3)
    listed = {p.name: p.read_text() for p in tmp_path.glob("*.errors.jsonl")}
    assert sorted(listed) == ["sa1b.0-3.errors.jsonl", "sa1b.2-3.errors.jsonl"]
    for name, image in (("sa1b.0-3.errors.jsonl", 4), ("sa1b.2-3.errors.jsonl", 3)):
        lines = [json.loads(line) for line in listed[name].splitlines()]
        assert {line["file_name"] for line in lines} == {f"{image}.jpg"}
        wrong = [a["id"] for a in data["annotations"] if a["image_id"] == image]
        assert [line["annotation_id"] for line in lines] == wrong


def test_pipes_of_conversions(source: Path, program: RunProgram, tmp_path: Path) -> None:
    ran = program(
        "unsam convert coco masks.json | unsam convert --to polygons - | "
        "unsam convert coco - | unsam convert --to sa1b - -o sa1b && "
        "unsam convert sa1b sa1b --to results | python3 -m json.tool"
    )
    assert ran.returncode == 0, ran.stderr.decode()
    found = json.loads(ran.stdout)
    first = json.loads(source.read_text())["annotations"]
    assert [a["segmentation"] for a in found] == [a["segmentation"] for a in first]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["masks.json", "sa1b"]


def test_forms_of_the_output(source: Path, invoke: Invoke) -> None:
    lines = invoke("convert", "coco", source, "--format", "ndjson").stdout.splitlines()
    assert len(lines) == 18
    assert isinstance(json.loads(invoke("convert", "results", source).stdout), list)


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["masks.json"], 2, "the format of masks.json is missing"),
        (["--to", "sa1b", "masks.json"], 2, "-o DIR"),
        (["--to", "sa1b", "masks.json", "-o", "taken/a.png"], 74, "is a file"),
        (["--to", "sa1b", "masks.json", "-o", "taken", "--no-clobber"], 2, "--no-clobber"),
        (["--to", "sa1b", "masks.json", "-o", "no/where"], 74, "does not exist"),
        (["--to", "tsv", "masks.json", "-o", "rows"], 2, "-o FILE.tsv"),
        (["--to", "tsv", "masks.json", "-o", "rows.tsv"], 65, "--images"),
        (["--to", "nothing", "masks.json"], 2, "sa1b"),
        (["lvis", "missing.json"], 66, "missing.json"),
        (["lvis", "taken"], 66, "taken: has no .json files"),
        (["sa1b", "masks.json"], 65, "image is missing"),
        (["coco", "taken/a.png"], 65, "a.png"),
        (["labelmap", "masks.json"], 65, "masks.json"),
        (["bsds500", "masks.json"], 66, "not a folder"),
        (["coco-panoptic", "masks.json"], 66, "--png"),
        (["coco-panoptic", "masks.json", "--png", "taken"], 65, "give a panoptic file"),
        (["tsv", "masks.json"], 65, "a training shard (TSV) is needed"),
        (["davis", "taken"], 65, "not inside a sequence"),
        (["ade20k", "taken"], 66, "_seg.png"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str],
    code: int,
    text: str,
    source: Path,
    invoke: Invoke,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(source.parent)
    Path("taken").mkdir()
    Image.new("L", (3, 3), 1).save("taken/a.png")
    before = sorted(Path.cwd().rglob("*"))
    ran = invoke("convert", *arguments)
    assert ran.exit_code == code, ran.stderr
    assert text in ran.stderr
    assert "Traceback" not in ran.stderr
    assert len([line for line in ran.stderr.splitlines() if "error:" in line]) == 1
    left = {p for p in Path.cwd().rglob("*") if ".part" not in str(p)}
    assert sorted(left) == before


def test_convert_needs_no_torch(source: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules.update(torch=None, timm=None, torchvision=None);"
        "from unsam_cli.cli import main; main()"
    )
    arguments: list[str | Path] = [
        "convert",
        "--to",
        "polygons",
        source,
        "-o",
        tmp_path / "out.json",
    ]
    ran = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr.decode()
