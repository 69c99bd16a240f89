"""How long a training is: the last word is the user's, not the preset's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import Invoke

from unsam_cli.run.provenance import Step
from unsam_cli.training.prompted.settings import PRESETS
from unsam_cli.training.settings import TrainerSettings

pytestmark = pytest.mark.torch

COMMAND = ("finetune-sam", "x.json", "--images", ".", "--checkpoint", "sam", "-o", "run")


@pytest.mark.parametrize(
    ("words", "config", "expected"),
    [
        ("--preset tiny", "", (PRESETS["tiny"]["steps"], None)),
        ("--preset small", "", (None, PRESETS["small"]["epochs"])),
        ("--preset tiny --epochs 2", "", (None, 2)),
        ("--preset small --steps 3", "", (3, None)),
        ("--preset tiny", "epochs = 2", (None, 2)),
        ("", "preset = 'tiny'\nepochs = 2", (None, 2)),
        ("--preset tiny --steps 3", "epochs = 2", (3, None)),
    ],
)
def test_the_user_s_length_counts(
    words: str,
    config: str,
    expected: tuple[object, object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    invoke: Invoke,
) -> None:
    seen: list[tuple[TrainerSettings, Step]] = []

    def note(*settings: Any) -> int:
        seen.append((settings[-2], settings[-1].step))
        return 0

    monkeypatch.setattr("unsam_cli.training.prompted.stage.finetune_sam", note)
    (tmp_path / "c.toml").write_text(f"[finetune-sam]\n{config}\n")
    ran = invoke(*COMMAND, *words.split(), "--config", tmp_path / "c.toml")
    assert ran.exit_code == 0, ran.stderr
    ((trainer, step),) = seen
    assert (trainer.steps, trainer.epochs) == expected
    assert (step.options["steps"], step.options["epochs"]) == expected


def test_the_command_line_comes_before_the_environment(
    monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    monkeypatch.setattr(
        "unsam_cli.training.prompted.stage.finetune_sam", lambda *settings: settings[-2].steps
    )
    assert invoke(*COMMAND, "--steps", 3, UNSAM_FINETUNE_SAM_EPOCHS="2").exit_code == 3


def test_two_lengths_are_refused(invoke: Invoke) -> None:
    ran = invoke(*COMMAND, "--steps", 3, "--epochs", 2)
    assert ran.exit_code == 2
    assert "give one of them" in ran.stderr
