"""Waiting for the other processes of a training."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from unsam_cli.errors import UnsamError
from unsam_cli.run.signals import SignalExit, exit_on_signals
from unsam_cli.training import meeting

pytestmark = pytest.mark.torch


def test_the_answer_or_the_error_is_passed_on() -> None:
    assert meeting.attentively(lambda: 3, "told") == 3
    with pytest.raises(ZeroDivisionError):
        meeting.attentively(lambda: 1 // 0, "told")


def test_whom_it_waits_for_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(meeting, "SILENCE", 0.0)
    arrived = threading.Event()
    threading.Timer(0.7, arrived.set).start()
    assert meeting.attentively(arrived.wait, "it waits for process 0")
    assert caplog.messages == ["it waits for process 0"]


def test_a_signal_ends_the_wait() -> None:
    never = threading.Event()
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
    with exit_on_signals(), pytest.raises(SignalExit):
        meeting.attentively(never.wait, "told")
    never.set()


def test_processes_that_do_not_come_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def give_up(wait: object, told: str) -> None:
        said.append(told)
        raise RuntimeError("timed out")

    monkeypatch.setattr(meeting, "attentively", give_up)
    with pytest.raises(UnsamError, match="process 0 of 4 cannot connect to the others at here"):
        meeting.meet(0, 4, "here", 20007, "gloo")
    assert "process 0 of 4 waits for processes 1 to 3 at here, port 20007" in said[0]
    with pytest.raises(UnsamError):
        meeting.meet(2, 4, "here", 20007, "gloo")
    assert "process 2 of 4 waits for process 0" in said[1]
