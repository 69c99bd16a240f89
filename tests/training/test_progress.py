"""What a training looks like on a terminal."""

from __future__ import annotations

import io
import sys

import pytest
from rich.console import Console

from unsam_cli.cli.train_log import TableReporter, training_reporter_factory
from unsam_cli.training.progress import TrainingLines, duration

VALUES = {"loss": 12.3456, "mask": 1.5, "lr": 5e-5, "memory": 3 * 2.0**20}


def test_a_live_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with TableReporter("train", 10, 20, 4) as reporter:
        reporter.advance(VALUES)
        reporter.validated({"AR@1000": 0.25})
        console = Console(file=io.StringIO(), width=80)
        console.print(reporter.live.get_renderable())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for cell in (
        "step 11/20",
        "12.35",
        "5e-05",
        "3 MiB",
        "images/s",
        "time left",
        "AR@1000",
        "0.25",
    ):
        assert cell in text


@pytest.mark.parametrize(
    ("terminal", "plain", "kind"),
    [
        (True, False, TableReporter),
        (True, True, TrainingLines),
        (False, False, TrainingLines),
    ],
)
def test_tables_are_for_terminals(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, plain: bool, kind: type
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert training_reporter_factory(plain=plain) is kind


def test_durations() -> None:
    assert [duration(s) for s in (12.4, 700, 11_100)] == ["12 s", "12 min", "3 h 05 min"]
