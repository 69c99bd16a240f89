"""The commands as a user runs them: in pipes, in shards, killed and resumed."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import warm
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from support import Invoke, RunProgram

from unsam_cli.rle import decode

EXTRACT = "unsam extract-features"
SMALL = "scenes --size 256"
"""Inputs of a quarter of the usual size each way, where the size proves nothing."""
PIPE = f"{EXTRACT} {{0}} | unsam divide | {EXTRACT} {{0}} --regions - --whole-image | unsam conquer"


def best_iou(masks: dict[str, Any], image_id: int, truth: Any) -> float:
    found = [a["segmentation"] for a in masks["annotations"] if a["image_id"] == image_id]
    encoded = coco_mask.encode(np.asfortranarray(truth.astype(np.uint8)))
    return float(coco_mask.iou([encoded], found, [0] * len(found)).max())


def test_the_pipe_finds_the_things_of_a_scene(
    scenes: Path, program: RunProgram, tmp_path: Path
) -> None:
    ran = program(PIPE.format("scenes") + " > masks.json")
    assert ran.returncode == 0, ran.stderr.decode()
    masks = json.loads((tmp_path / "masks.json").read_bytes())
    assert [image["file_name"] for image in masks["images"]] == [
        *(f"{i}.png" for i in range(1, 5)),
        "more/5.png",
    ]
    y, x = np.mgrid[:96, :128]
    for image_id in range(1, 6):
        radius, centre = 96 * 0.28, 128 * (0.25 + 0.02 * (image_id - 1))
        disc = (y - 96 * 0.4) ** 2 + (x - centre) ** 2 < radius**2
        box = (y >= 28) & (y < 86) & (x >= 76) & (x < 115)
        assert best_iou(masks, image_id, disc) > 0.85, image_id
        assert best_iou(masks, image_id, box) > 0.85, image_id
    steps = [step["command"].split()[1] for step in masks["info"]["unsam"]["history"]]
    assert steps == ["extract-features", "divide", "extract-features", "conquer"]


def test_the_output_is_coco_ground_truth_with_a_sound_hierarchy(
    scenes: Path, program: RunProgram, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program(PIPE.format(SMALL) + " > masks.json")
    coco = COCO(tmp_path / "masks.json")
    capsys.readouterr()
    annotations = coco.loadAnns(coco.getAnnIds())
    assert [a["id"] for a in annotations] == list(range(1, len(annotations) + 1))
    for a in annotations:
        mask = decode(coco.annToRLE(a))
        assert (mask.sum(), a["iscrowd"], a["category_id"]) == (a["area"], 0, 1)
        assert a["stage"] in ("divide", "conquer")
        assert (a["level"] is None) == (a["stage"] == "divide")
        assert 0.1 <= a["granularity"] <= 1
        if a["parent_id"] is not None:
            parent = coco.anns[a["parent_id"]]
            assert parent["image_id"] == a["image_id"]
            assert parent["area"] > a["area"]
            assert (mask & decode(coco.annToRLE(parent))).sum() >= 0.9 * a["area"]


def test_the_pipe_needs_neither_torch_nor_timm(scenes: Path, tmp_path: Path) -> None:
    without = (
        "import sys; sys.modules.update(torch=None, timm=None, torchvision=None);"
        "from unsam_cli.cli import main; main()"
    )
    line = f"unsam() {{ '{sys.executable}' -c '{without}' \"$@\"; }}; set -o pipefail; "
    ran = subprocess.run(
        ["bash", "-c", line + PIPE.format("scenes/1.png --size 256") + " > m.json"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr.decode()


def test_results_depend_neither_on_jobs_nor_shards(
    scenes: Path, program: RunProgram, tmp_path: Path
) -> None:
    lines = [
        f"{EXTRACT} {SMALL} -o f.h5 --jobs 1 && unsam divide f.h5 -o d.json --jobs 1",
        f"{EXTRACT} {SMALL} --regions d.json --whole-image -o r.h5 --jobs 1",
        "unsam conquer r.h5 -o c.json --jobs 1",
    ]
    for k in range(2):
        share = f"--shard {k}/2 --jobs 3"
        lines += [
            f"{EXTRACT} {SMALL} {share} -o f{k}.h5 && unsam divide f{k}.h5 -o d{k}.json",
            f"{EXTRACT} {SMALL} --regions d.json --whole-image {share} -o r{k}.h5",
            # A shard of the whole, or the whole of a shard: it is marked alike.
            f"unsam conquer {f'r.h5 {share}' if k else 'r0.h5'} -o c{k}.json",
        ]
    lines += [
        "unsam merge f1.h5 f0.h5 -o fm.h5",
        "unsam merge r1.h5 r0.h5 -o rm.h5",
        "unsam merge d1.json d0.json -o dm.json",
        "unsam merge c1.json c0.json > cm.json",
        f"{EXTRACT} --coco d0.json --image-root {SMALL} -o g0.h5",
        "unsam merge g0.h5 f1.h5 -o gm.h5",
        "! unsam merge f0.h5 -o half.h5",
        "! unsam merge d0.json d0.json d1.json -o half.json && test ! -e half.json -a ! -e half.h5",
    ]
    ran = program(" && ".join(lines), timeout=300)
    assert ran.returncode == 0, ran.stderr.decode()
    for one, merged in [
        ("f.h5", "fm.h5"),
        ("r.h5", "rm.h5"),
        ("d.json", "dm.json"),
        ("c.json", "cm.json"),
        ("f.h5", "gm.h5"),
    ]:
        assert (tmp_path / one).read_bytes() == (tmp_path / merged).read_bytes(), one


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["extract-features", "divide", "conquer"])
def test_killed_at_any_moment_and_resumed_equals_one_run(
    stage: str, scenes: Path, program: RunProgram, tmp_path: Path
) -> None:
    for i in range(6, 12):
        (scenes / f"{i}.png").write_bytes((scenes / f"{i % 4 + 1}.png").read_bytes())
    program(f"{EXTRACT} {SMALL} -o f.h5 && unsam divide f.h5 -o d.json")
    command = {
        "extract-features": f"{EXTRACT} {SMALL} --regions d.json --whole-image".split()[1:],
        "divide": ["divide", "f.h5"],
        "conquer": ["conquer", "f.h5"],
    }[stage]
    run = [*command, "--jobs", "1", "-q"]
    whole = warm.Program([*run, "-o", "one"], cwd=tmp_path)
    whole.communicate(60)
    assert whole.returncode == 0
    rng = random.Random(stage)
    journal = tmp_path / "out.part" / "journal.ndjson"
    kills = 0
    for _ in range(4):
        process = warm.Program([*run, "-o", "out", "--resume"], cwd=tmp_path)
        before = journal.stat().st_size if journal.exists() else 0
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if journal.exists() and journal.stat().st_size > before + 300:
                time.sleep(rng.random() * 0.05)
                break
            time.sleep(0.005)
        process.kill()
        process.communicate(60)
        kills += process.returncode == -signal.SIGKILL
    assert kills
    last = warm.Program([*run, "-o", "out", "--resume"], cwd=tmp_path)
    last.communicate(60)
    assert last.returncode == 0
    assert (tmp_path / "out").read_bytes() == (tmp_path / "one").read_bytes()
    assert not journal.exists()


def test_exit_codes_and_one_line_errors(
    scenes: Path, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (scenes / "bad.jpg").write_bytes(b"\xff\xd8\xff not a photograph")
    Path("text.h5").write_text("not HDF5")
    small = ["extract-features", *SMALL.split()]
    cases: list[tuple[list[str], int, str]] = [
        (["extract-features", "none.jpg"], 66, "none.jpg"),
        (["extract-features"], 2, "no images"),
        (["extract-features", "scenes", "-o", "no/f.h5"], 74, "create it first"),
        ([*small, "-o", "f.h5"], 65, "bad.jpg"),
        ([*small, "-o", "f.h5", "--on-error", "skip"], 3, "bad.jpg"),
        (["extract-features", "scenes", "--shard", "2/2"], 2, "0 <= K < N"),
        (["extract-features", "scenes", "--backbone", "resnet_nonsense"], 2, "resnet_nonsense"),
        (["divide", "none.h5"], 66, "none.h5"),
        (["divide", "text.h5"], 65, "text.h5"),
        (["divide", "f.h5", "--tua", "3"], 2, "--tua"),
        (["divide", "f.h5", "-o", "d.json"], 0, ""),
        (["conquer", "f.h5", "-o", "c.json", "--thresholds", "a,b"], 2, "0.6,0.5,0.4"),
        (["merge", "d.json", "f.h5", "-o", "m"], 65, "cannot be merged"),
        (["nonsense"], 2, "nonsense"),
    ]
    for arguments, code, text in cases:
        ran = invoke(*arguments)
        assert ran.exit_code == code, (arguments, ran.stderr)
        assert text in ran.stderr, (arguments, ran.stderr)
        assert "Traceback" not in ran.stderr
        errors = [line for line in ran.stderr.splitlines() if "error:" in line]
        assert len(errors) == (code not in (0, 3)), (arguments, ran.stderr)
    listed = [json.loads(line) for line in Path("f.h5.errors.jsonl").read_text().splitlines()]
    assert [(e["file_name"], e["stage"]) for e in listed] == [("bad.jpg", "extract-features")]


def test_stderr_as_json_lines_and_quiet(scenes: Path, invoke: Invoke, tmp_path: Path) -> None:
    words = ("extract-features", scenes, "--size", 128, "-o", tmp_path / "f.h5")
    ran = invoke(*words, "--log-json")
    lines = [json.loads(line) for line in ran.stderr.splitlines()]
    assert lines[-1]["stage"] == "extract-features"
    assert lines[-1]["done"] == lines[-1]["total"] == 5
    assert lines[-1]["peak_memory_bytes"] > 0
    ran = invoke("divide", tmp_path / "none.h5", "--log-json")
    (line,) = [json.loads(line) for line in ran.stderr.splitlines()]
    assert (line["level"], line["exit_code"]) == ("error", 66)
    ran = invoke(*words, "-q")
    assert ran.stderr == ""


def test_logs_without_a_terminal_have_no_control_codes(scenes: Path, program: RunProgram) -> None:
    ran = program(f"{EXTRACT} {SMALL} -v -o f.h5; unsam divide f.h5 -o d.json")
    assert b"\r" not in ran.stderr
    assert b"\x1b" not in ran.stderr
    assert b"extract-features: 5/5 images" in ran.stderr
    assert b"peak memory" in ran.stderr


@pytest.mark.parametrize("seed", range(8))
def test_garbage_never_gives_a_traceback(
    seed: int, scenes: Path, invoke: Invoke, tmp_path: Path
) -> None:
    rng = random.Random(seed)
    features, masks = tmp_path / "f.h5", tmp_path / "d.json"
    invoke("extract-features", scenes / "1.png", "--size", 128, "-o", features)
    invoke("divide", features, "-o", masks)
    for path, commands in [
        (features, [["divide", features], ["conquer", features], ["merge", features]]),
        (masks, [["extract-features", scenes / "1.png", "--regions", masks], ["merge", masks]]),
    ]:
        data = bytearray(path.read_bytes())
        for _ in range(rng.choice([1, 8, 64])):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if rng.random() < 0.3:
            del data[rng.randrange(len(data)) :]
        path.write_bytes(data)
        for command in commands:
            ran = invoke(*command, "-o", tmp_path / "out")
            assert ran.exit_code in (0, 65, 66), (command, ran.exit_code, ran.stderr)
            assert "Traceback" not in ran.stderr
            assert "internal error" not in ran.stderr
