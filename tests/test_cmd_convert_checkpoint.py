"""``unsam convert checkpoint`` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import semantic_reference
import torch
from detectron2_reference import make_state
from support import Invoke

from unsam_cli.models.loading import load_segmenter
from unsam_cli.sam.loading import load_promptable

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "unsam.pth"
    torch.save({"model": make_state(queries=3)}, path)
    return path


@pytest.fixture
def source(checkpoint: Path, tmp_path: Path) -> Path:
    path = tmp_path / "unsam.pth"
    path.hardlink_to(checkpoint)
    return path


def test_a_checkpoint_becomes_a_model_folder(source: Path, tmp_path: Path, invoke: Invoke) -> None:
    out = tmp_path / "unsam"
    ran = invoke("convert", "checkpoint", source, "-o", out)
    assert (ran.exit_code, ran.stdout, ran.stderr) == (0, "", "")
    about = json.loads((out / "unsam.json").read_text())
    (step,) = about["history"]
    assert step["command"] == "unsam convert --format checkpoint"
    assert step["inputs"]["source"].startswith("sha256:")
    assert load_segmenter(str(out)).config == load_segmenter(str(source)).config
    again = invoke("convert", "checkpoint", source, "-o", out, "--no-clobber")
    assert again.exit_code == 2
    assert "--no-clobber was given" in again.stderr


def test_so_does_a_promptable_one(tmp_path: Path, invoke: Invoke) -> None:
    state = {f"model.{k}": v for k, v in semantic_reference.make_state().items()}
    torch.save({"model": state}, tmp_path / "unsam.pth")
    for _ in range(2):  # the second replaces the first
        ran = invoke("convert", "checkpoint", tmp_path / "unsam.pth", "-o", tmp_path / "unsam")
        assert (ran.exit_code, ran.stdout, ran.stderr) == (0, "", "")
    before, after = (load_promptable(str(tmp_path / name)) for name in ("unsam.pth", "unsam"))
    assert after.history[-1]["command"] == "unsam convert --format checkpoint"
    assert all(torch.equal(after.state_dict()[k], v) for k, v in before.state_dict().items())


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["checkpoint", "unsam.pth"], 2, "the output of a checkpoint is a folder: give -o DIR"),
        (["checkpoint", "none.pth", "-o", "out"], 66, "none.pth: no such file"),
        (["checkpoint", "bad.pth", "-o", "out"], 65, "not a Mask2Former of detectron2"),
        (["checkpoint", "unsam.pth", "-o", "full"], 74, "is not a model folder"),
        (
            ["checkpoint", "unsam.pth", "--to", "sa1b", "-o", "out"],
            2,
            "unknown format 'checkpoint'",
        ),
        (["checkpoint"], 2, "source is missing after checkpoint; give a file"),
    ],
)
def test_what_cannot_be_converted(
    source: Path,
    tmp_path: Path,
    invoke: Invoke,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    code: int,
    text: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": torch.zeros(3)}, "bad.pth")
    Path("full").mkdir()
    Path("full", "photo.jpg").touch()
    ran = invoke("convert", *words)
    assert ran.exit_code == code
    assert text in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert {p.name for p in tmp_path.iterdir()} == {"unsam.pth", "bad.pth", "full"}
