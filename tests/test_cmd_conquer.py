"""conquer as a user runs it: features of regions in, masks of parts out."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import Invoke

from unsam_cli.conquer import stage
from unsam_cli.conquer.settings import ConquerSettings


def test_conquer_presets_and_limits(scenes: Path, invoke: Invoke, tmp_path: Path) -> None:
    features = tmp_path / "f.h5"
    invoke("extract-features", scenes, "--size", 256, "-o", features)

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
    crf = invoke("conquer", features, "--refine", "crf", "--preset", "paper")
    assert re.search(r"conquer: \d+ of \d+ refined masks kept", crf.stderr), crf.stderr
    found = json.loads(crf.stdout)["annotations"]
    assert 0 < len(found) <= sum(paper.values())
    assert max(a["area"] for a in found) <= 0.9 * 96 * 128


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


def test_a_closed_pipe_is_silent(scenes: Path, invoke: Invoke, tmp_path: Path) -> None:
    assert invoke("extract-features", scenes, "--size", 256, "-o", tmp_path / "f.h5").exit_code == 0
    reader, writer = os.pipe()
    os.close(reader)
    ran = subprocess.run(
        [sys.executable, "-m", "unsam_cli", "conquer", "f.h5", "-q"],
        cwd=tmp_path,
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (128 + signal.SIGPIPE, b"")


def test_tiles_are_regions_whose_borders_want_the_originals(
    scenes: Path, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "PREVIEW", 100)  # the scene is longer, as photographs are than 640
    features, tiles = tmp_path / "f.h5", tmp_path / "t.h5"
    small = ("--size", 96)
    invoke("extract-features", scenes / "1.png", *small, "-o", features)
    ran = invoke("extract-features", scenes / "1.png", *small, "--tile", 64, "-o", tiles)
    assert ran.exit_code == 0, ran.stderr
    advice = "conquer --images DIR follows the original images"
    assert advice not in invoke("conquer", features).stderr
    ran = invoke("conquer", tiles)
    assert advice in ran.stderr
    assert [a["bbox"] for a in json.loads(ran.stdout)["annotations"] if a["level"] is None] == [
        [0, 0, 128, 96]  # and no tile
    ]
    assert advice not in invoke("conquer", tiles, "--images", scenes).stderr
    assert invoke("divide", tiles, "-o", tmp_path / "d.json").exit_code == 0


def test_a_tile_that_is_no_number_is_refused(scenes: Path, invoke: Invoke) -> None:
    ran = invoke("extract-features", scenes, "--tile", "half")
    assert ran.exit_code == 2
    assert "a tile of 'half' is not a number of pixels; give 500 or auto" in ran.stderr


def test_tidy_sets_what_is_not_named(
    scenes: Path, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = tmp_path / "f.h5"
    assert (
        invoke("extract-features", scenes / "1.png", "--size", 128, "-o", features).exit_code == 0
    )
    runs = {
        "named": ["--nms-iou", "0.7", "--max-masks", "50"],
        "tidy": ["--preset", "tidy"],
        "few": ["--max-masks", "7", "--preset", "tidy"],
    }
    found = {}
    for name, words in runs.items():
        ran = invoke("conquer", features, *words, "-o", tmp_path / name)
        assert ran.exit_code == 0, ran.stderr
        found[name] = json.loads((tmp_path / name).read_bytes())
    monkeypatch.setenv("UNSAM_CONQUER_PRESET", "tidy")
    assert invoke("conquer", features, "-o", tmp_path / "again").exit_code == 0
    assert (tmp_path / "again").read_bytes() == (tmp_path / "tidy").read_bytes()
    assert found["tidy"]["annotations"] == found["named"]["annotations"]
    assert len(found["tidy"]["annotations"]) <= 50
    assert len(found["few"]["annotations"]) == 7
    step = found["few"]["info"]["unsam"]["history"][-1]["options"]
    assert (step["preset"], step["nms-iou"], step["max-masks"]) == ("tidy", 0.7, 7)
    assert ConquerSettings.of(preset="tidy", max_masks=9).nms_iou == 0.7
