"""The commands as a user runs them: in pipes, in shards, killed and resumed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from support import Invoke, RunProgram, draw_scene

from unsam_cli.rle import decode

EXTRACT = "unsam extract-features"
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
    program(PIPE.format("scenes") + " > masks.json")
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
        ["bash", "-c", line + PIPE.format("scenes/1.png") + " > m.json"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr.decode()


def test_results_depend_neither_on_jobs_nor_shards(
    scenes: Path, program: RunProgram, tmp_path: Path
) -> None:
    lines = [
        f"{EXTRACT} scenes -o f.h5 --jobs 1 && unsam divide f.h5 -o d.json --jobs 1",
        f"{EXTRACT} scenes --regions d.json --whole-image -o r.h5 --jobs 1",
        "unsam conquer r.h5 -o c.json --jobs 1",
    ]
    for k in range(2):
        share = f"--shard {k}/2 --jobs 3"
        lines += [
            f"{EXTRACT} scenes {share} -o f{k}.h5 && unsam divide f{k}.h5 -o d{k}.json",
            f"{EXTRACT} scenes --regions d.json --whole-image {share} -o r{k}.h5",
            # A shard of the whole, or the whole of a shard: it is marked alike.
            f"unsam conquer {f'r.h5 {share}' if k else 'r0.h5'} -o c{k}.json",
        ]
    lines += [
        "unsam merge f1.h5 f0.h5 -o fm.h5",
        "unsam merge r1.h5 r0.h5 -o rm.h5",
        "unsam merge d1.json d0.json -o dm.json",
        "unsam merge c1.json c0.json > cm.json",
        f"{EXTRACT} --coco d0.json --image-root scenes -o g0.h5",
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
    program(f"{EXTRACT} scenes -o f.h5 && unsam divide f.h5 -o d.json")
    command = {
        "extract-features": f"{EXTRACT} scenes --regions d.json --whole-image".split()[1:],
        "divide": ["divide", "f.h5"],
        "conquer": ["conquer", "f.h5"],
    }[stage]
    run = [sys.executable, "-m", "unsam_cli", *command, "--jobs", "1", "-q"]
    subprocess.run([*run, "-o", "one"], cwd=tmp_path, check=True)
    rng = random.Random(stage)
    journal = tmp_path / "out.part" / "journal.ndjson"
    kills = 0
    for _ in range(4):
        process = subprocess.Popen([*run, "-o", "out", "--resume"], cwd=tmp_path)
        before = journal.stat().st_size if journal.exists() else 0
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if journal.exists() and journal.stat().st_size > before + 300:
                time.sleep(rng.random() * 0.05)
                break
            time.sleep(0.005)
        process.kill()
        kills += process.wait() == -signal.SIGKILL
    assert kills
    subprocess.run([*run, "-o", "out", "--resume"], cwd=tmp_path, check=True)
    assert (tmp_path / "out").read_bytes() == (tmp_path / "one").read_bytes()
    assert not journal.exists()


def test_exit_codes_and_one_line_errors(
    scenes: Path, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (scenes / "bad.jpg").write_bytes(b"\xff\xd8\xff not a photograph")
    Path("text.h5").write_text("not HDF5")
    cases: list[tuple[list[str], int, str]] = [
        (["extract-features", "none.jpg"], 66, "none.jpg"),
        (["extract-features"], 2, "no images"),
        (["extract-features", "scenes", "-o", "no/f.h5"], 74, "make it first"),
        (["extract-features", "scenes", "-o", "f.h5"], 65, "bad.jpg"),
        (["extract-features", "scenes", "-o", "f.h5", "--on-error", "skip"], 3, "bad.jpg"),
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


def test_resume_is_refused_with_the_differing_setting_named(
    scenes: Path, invoke: Invoke, tmp_path: Path
) -> None:
    out = tmp_path / "f.h5"
    assert invoke("extract-features", scenes, "-o", out).exit_code == 0
    ran = invoke("extract-features", scenes, "-o", out, "--resume", "--size", "320")
    assert ran.exit_code == 2
    assert "size was 640 and is now 320" in ran.stderr


def test_resume_takes_in_new_images(scenes: Path, invoke: Invoke, tmp_path: Path) -> None:
    from PIL import Image

    out = tmp_path / "f.h5"
    invoke("extract-features", scenes, "-o", out)
    Image.fromarray(draw_scene(7)).save(scenes / "more" / "6.png")
    assert invoke("extract-features", scenes, "-o", out, "--resume").exit_code == 0
    invoke("extract-features", scenes, "-o", tmp_path / "one.h5")
    assert out.read_bytes() == (tmp_path / "one.h5").read_bytes()


def test_a_list_that_changed_is_not_resumed(scenes: Path, invoke: Invoke, tmp_path: Path) -> None:
    out = tmp_path / "f.h5"
    invoke("extract-features", scenes, "-o", out)
    (scenes / "0.png").write_bytes((scenes / "1.png").read_bytes())
    ran = invoke("extract-features", scenes, "-o", out, "--resume")
    assert ran.exit_code == 65
    assert "image 1 was 1.png and is now 0.png" in ran.stderr


def test_regions_of_another_list_are_refused(scenes: Path, invoke: Invoke, tmp_path: Path) -> None:
    invoke("extract-features", scenes, "-o", tmp_path / "f.h5")
    invoke("divide", tmp_path / "f.h5", "-o", tmp_path / "d.json")
    ran = invoke(
        "extract-features",
        scenes / "more",
        "--regions",
        tmp_path / "d.json",
        "-o",
        tmp_path / "r.h5",
    )
    assert ran.exit_code == 65
    assert "image 1 is 1.png there and 5.png here" in ran.stderr


def test_defaults_from_environment_and_config(scenes: Path, invoke: Invoke, tmp_path: Path) -> None:
    config = tmp_path / "unsam.toml"
    config.write_text("[divide]\ntau = 0.3\nmax-masks = 2\n[conquer]\nmin-patches = 9\n")
    features = tmp_path / "f.h5"
    invoke("extract-features", scenes, "-o", features)

    def options(*arguments: str, **env: str) -> dict[str, Any]:
        ran = invoke("divide", features, "--config", config, *arguments, **env)
        assert ran.exit_code == 0, ran.stderr
        step: dict[str, Any] = json.loads(ran.stdout)["info"]["unsam"]["history"][-1]
        return dict(step["options"])

    assert (options()["tau"], options()["max-masks"]) == (0.3, 2)
    assert options(UNSAM_DIVIDE_TAU="0.4")["tau"] == 0.4
    assert options("--tau", "0.5", UNSAM_DIVIDE_TAU="0.4")["tau"] == 0.5
    config.write_text("[divide]\ntua = 1\n")
    ran = invoke("divide", features, "--config", config)
    assert ran.exit_code == 2
    assert "no option 'tua'" in ran.stderr


def test_stderr_as_json_lines_and_quiet(scenes: Path, invoke: Invoke, tmp_path: Path) -> None:
    ran = invoke("extract-features", scenes, "-o", tmp_path / "f.h5", "--log-json")
    lines = [json.loads(line) for line in ran.stderr.splitlines()]
    assert lines[-1]["stage"] == "extract-features"
    assert lines[-1]["done"] == lines[-1]["total"] == 5
    assert lines[-1]["peak_memory_bytes"] > 0
    ran = invoke("divide", tmp_path / "none.h5", "--log-json")
    (line,) = [json.loads(line) for line in ran.stderr.splitlines()]
    assert (line["level"], line["exit_code"]) == ("error", 66)
    ran = invoke("extract-features", scenes, "-o", tmp_path / "f.h5", "-q")
    assert ran.stderr == ""


@pytest.mark.parametrize("kind", ["coco", "results", "ndjson"])
def test_output_formats(kind: str, scenes: Path, invoke: Invoke, tmp_path: Path) -> None:
    invoke("extract-features", scenes, "-o", tmp_path / "f.h5")
    ran = invoke("divide", tmp_path / "f.h5", "--format", kind)
    if kind == "ndjson":
        annotations = [json.loads(line) for line in ran.stdout.splitlines()]
    else:
        whole = json.loads(ran.stdout)
        annotations = whole if kind == "results" else whole["annotations"]
    assert len(annotations) >= 5
    assert {"image_id", "category_id", "segmentation", "score"} <= annotations[0].keys()


def test_a_closed_pipe_is_silent(scenes: Path, program: RunProgram) -> None:
    ran = program(
        f"{EXTRACT} scenes -o f.h5 -q; unsam conquer f.h5 -q | head -c 10 > /dev/null;"
        " echo ${PIPESTATUS[0]}"
    )
    assert ran.stdout.splitlines()[-1] in (b"141", b"0")  # 0 if all fitted into the pipe's buffer
    assert ran.stderr == b""


def test_a_signal_stops_with_75_and_the_state_saved(
    scenes: Path, program: RunProgram, tmp_path: Path
) -> None:
    for i in range(6, 40):
        (scenes / f"{i}.png").write_bytes((scenes / f"{i % 4 + 1}.png").read_bytes())
    run = [
        sys.executable,
        "-m",
        "unsam_cli",
        "extract-features",
        "scenes",
        "--jobs",
        "1",
        "-o",
        "f.h5",
    ]
    process = subprocess.Popen(run, cwd=tmp_path, stderr=subprocess.PIPE)
    journal = tmp_path / "f.h5.part" / "journal.ndjson"
    deadline = time.monotonic() + 60
    while not (journal.exists() and journal.stat().st_size > 500) and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGUSR1)
    _, stderr = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.skip("the run ended before the signal came")
    assert process.returncode == 75
    assert b"stopped by SIGUSR1" in stderr
    assert b"run again with --resume" in stderr
    assert not (tmp_path / "f.h5").exists()
    assert program(f"{EXTRACT} scenes -o f.h5 --resume && {EXTRACT} scenes -o g.h5").returncode == 0
    assert (tmp_path / "f.h5").read_bytes() == (tmp_path / "g.h5").read_bytes()


def test_ctrl_c_is_130_and_silent(tmp_path: Path) -> None:
    run = [sys.executable, "-m", "unsam_cli", "extract-features", "-", "-o", "f.h5"]
    process = subprocess.Popen(run, cwd=tmp_path, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    time.sleep(2)  # it waits for the list
    process.send_signal(signal.SIGINT)
    process.wait(timeout=60)
    process.stdin.close()
    assert process.stderr is not None
    with process.stderr as stderr:
        assert (process.returncode, stderr.read()) == (130, b"")


def test_binary_output_to_a_terminal_is_refused(scenes: Path) -> None:
    import pty

    master, slave = pty.openpty()
    ran = subprocess.run(
        [sys.executable, "-m", "unsam_cli", "extract-features", str(scenes)],
        stdout=slave,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(slave)
    os.close(master)
    assert ran.returncode == 2
    assert b"binary output on a terminal" in ran.stderr


def test_logs_without_a_terminal_have_no_control_codes(scenes: Path, program: RunProgram) -> None:
    ran = program(f"{EXTRACT} scenes -v -o f.h5; unsam divide f.h5 -o d.json")
    assert b"\r" not in ran.stderr
    assert b"\x1b" not in ran.stderr
    assert b"extract-features: 5/5 images" in ran.stderr
    assert b"peak memory" in ran.stderr


def test_detections_instead_of_cuts(scenes: Path, invoke: Invoke, tmp_path: Path) -> None:
    truth = np.zeros((96, 128), np.uint8, order="F")
    truth[10:40, 20:60] = 1
    rle = coco_mask.encode(truth)
    rle["counts"] = rle["counts"].decode()
    results = [
        {"image_id": 2, "category_id": 1, "segmentation": rle, "score": score}
        for score in (0.9, 0.2)
    ]
    (tmp_path / "results.json").write_text(json.dumps(results))
    invoke("extract-features", scenes, "-o", tmp_path / "f.h5")
    ran = invoke("divide", tmp_path / "f.h5", "--detections", tmp_path / "results.json")
    assert ran.exit_code == 0, ran.stderr
    masks = json.loads(ran.stdout)
    assert [(a["image_id"], a["score"], a["area"]) for a in masks["annotations"]] == [
        (2, 0.9, 1200)
    ]
    assert len(masks["images"]) == 5
    ran = invoke("divide", "--detections", tmp_path / "results.json")
    assert ran.exit_code == 65
    assert "lists no images" in ran.stderr


@pytest.mark.parametrize("seed", range(8))
def test_garbage_never_gives_a_traceback(
    seed: int, scenes: Path, invoke: Invoke, tmp_path: Path
) -> None:
    rng = random.Random(seed)
    features, masks = tmp_path / "f.h5", tmp_path / "d.json"
    invoke("extract-features", scenes / "1.png", "-o", features)
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


def test_conquer_presets_and_limits(scenes: Path, invoke: Invoke, tmp_path: Path) -> None:
    features = tmp_path / "f.h5"
    invoke("extract-features", scenes, "-o", features)

    def count(*arguments: str) -> dict[int, int]:
        ran = invoke("conquer", features, *arguments)
        assert ran.exit_code == 0, ran.stderr
        masks = json.loads(ran.stdout)["annotations"]
        assert {a["level"] for a in masks} <= {None, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1}
        return {i: sum(a["image_id"] == i for a in masks) for i in range(1, 6)}

    assert max(count("--max-masks", "5").values()) == 5
    everything = count("--max-masks", "0")
    paper = count("--preset", "paper")
    assert all(0 < paper[i] < everything[i] for i in everything)
    assert count("--refine", "none") != {}


def test_a_shard_without_masks_keeps_its_history(
    scenes: Path, invoke: Invoke, tmp_path: Path
) -> None:
    features, masks, regions = (tmp_path / name for name in ("f.h5", "d.json", "r.h5"))
    share = ["--shard", "6/7"]  # of five images
    assert invoke("extract-features", scenes, *share, "-o", features).exit_code == 0
    assert invoke("divide", features, "-o", masks).exit_code == 0
    ran = invoke("extract-features", scenes, *share, "--regions", masks, "-o", regions)
    assert ran.exit_code == 0
    history = json.loads(invoke("conquer", regions).stdout)["info"]["unsam"]["history"]
    steps = [step["command"].split()[1] for step in history]
    assert steps == ["extract-features", "divide", "extract-features", "conquer"]


def test_masks_of_another_size_name_the_image(scenes: Path, invoke: Invoke, tmp_path: Path) -> None:
    from PIL import Image

    invoke("extract-features", scenes, "-o", tmp_path / "f.h5")
    invoke("divide", tmp_path / "f.h5", "-o", tmp_path / "d.json")
    Image.fromarray(draw_scene(0, height=90)).save(scenes / "1.png")
    ran = invoke(
        "extract-features", scenes, "--regions", tmp_path / "d.json", "-o", tmp_path / "r.h5"
    )
    assert ran.exit_code == 65
    assert "1.png: mask 0: size 96x128 differs from the image's 90x128" in ran.stderr


@pytest.mark.parametrize("change", ["size", "name"])
def test_detections_of_other_images_are_refused(
    change: str, scenes: Path, invoke: Invoke, tmp_path: Path
) -> None:
    from PIL import Image

    features, masks = tmp_path / "f.h5", tmp_path / "d.json"
    invoke("extract-features", scenes, "-o", features)
    invoke("divide", features, "-o", masks)
    if change == "size":
        Image.fromarray(draw_scene(0, height=90)).save(scenes / "1.png")
    else:
        (scenes / "1.png").rename(scenes / "10.png")
    invoke("extract-features", scenes, "-o", features)
    ran = invoke("divide", features, "--detections", masks, "-o", tmp_path / "out.json")
    assert ran.exit_code == 65
    said = {"size": "1.png: mask 0: size 96x128", "name": "image 1 is 1.png there and 10.png here"}
    assert said[change] in ran.stderr


def test_missing_images_of_a_list_are_skipped_on_request(
    scenes: Path, invoke: Invoke, tmp_path: Path
) -> None:
    features, listed = tmp_path / "f.h5", tmp_path / "list.txt"
    listed.write_text(f"{scenes}/1.png\n{scenes}/none.png\n")
    assert invoke("extract-features", f"@{listed}", "-o", features).exit_code == 66
    ran = invoke("extract-features", f"@{listed}", "-o", features, "--on-error", "skip")
    assert ran.exit_code == 3
    errors = Path(f"{features}.errors.jsonl").read_text().splitlines()
    assert [json.loads(line)["file_name"] for line in errors] == ["none.png"]


def test_a_list_of_results_cannot_be_resumed(scenes: Path, invoke: Invoke, tmp_path: Path) -> None:
    out = tmp_path / "d.ndjson"
    invoke("extract-features", scenes, "-o", tmp_path / "f.h5")
    divide = ["divide", tmp_path / "f.h5", "--format", "ndjson", "-o", out]
    assert invoke(*divide).exit_code == 0
    before = out.read_bytes()
    ran = invoke(*divide, "--resume")
    assert ran.exit_code == 2
    assert "use --format coco" in ran.stderr
    assert out.read_bytes() == before
