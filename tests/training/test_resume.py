"""Interrupted trainings end as those that were left alone, bit for bit."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from toy_training import contents, finish, last_checkpoint, metrics_of, run, start, wait_for_steps

from unsam_cli.errors import OutputError
from unsam_cli.training.checkpoints import RunFolder
from unsam_cli.training.metrics import MetricsLog

pytestmark = pytest.mark.torch

SETTINGS: dict[str, Any] = {
    "steps": 60,
    "checkpoint_every": 7,
    "validate_every": 10,
    "log_every": 4,
    "keep": 2,
    "schedule": "cosine",
    "ema": 0.9,
}
TASK: dict[str, Any] = {"dropout": 0.2}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("whole")
    assert run(folder, SETTINGS, **TASK) == 0
    return contents(folder)


@pytest.mark.parametrize("jobs", [0, 1])
def test_killed_at_any_moment(tmp_path: Path, whole: dict[str, Any], jobs: int) -> None:
    """Kill it again and again, wherever it is: in a step, a validation, in writing a file."""
    rng = random.Random(jobs)
    kills = 0
    settings = {**SETTINGS, "jobs": jobs}
    for aim in (0, 9, 20, 30, 41, 52):
        process = start(tmp_path, settings, resume=True, seconds=0.004, **TASK)
        wait_for_steps(tmp_path, process, aim)
        time.sleep(rng.uniform(0, 0.1))
        process.kill()
        process.join()
        kills += process.exitcode == -signal.SIGKILL
    assert kills >= 4
    process = start(tmp_path, settings, resume=True, **TASK)
    assert finish(process) == 0
    assert contents(tmp_path) == whole
    assert [p.name for p in tmp_path.rglob(".*")] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_asked_to_stop(tmp_path: Path, whole: dict[str, Any], number: signal.Signals) -> None:
    process = start(tmp_path, {**SETTINGS, "jobs": 1}, seconds=0.01, **TASK)
    wait_for_steps(tmp_path, process, 12)
    assert process.pid is not None
    os.kill(process.pid, number)
    assert finish(process) == 75
    step = int(last_checkpoint(tmp_path).name.removeprefix("step-"))
    assert 12 <= step < 60
    assert metrics_of(tmp_path)[-1]["step"] <= step
    assert run(tmp_path, SETTINGS, resume=True, **TASK) == 0
    # The checkpoints that are kept differ; the last one, the model and the metrics do not.
    assert contents(tmp_path) == whole


def test_workers_leave_stopping_to_the_trainer(tmp_path: Path) -> None:
    """Slurm signals all processes of a job, the workers, too."""
    process = start(tmp_path, {**SETTINGS, "jobs": 2}, seconds=0.01, **TASK)
    wait_for_steps(tmp_path, process, 4)
    tasks = Path(f"/proc/{process.pid}/task")
    workers = [int(w) for t in tasks.iterdir() for w in (t / "children").read_text().split()]
    assert len(workers) == 2
    for worker in workers:
        os.kill(worker, signal.SIGTERM)
        os.kill(worker, signal.SIGUSR1)
    wait_for_steps(tmp_path, process, 20)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGTERM)
    assert finish(process) == 75
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


def test_metrics_are_cut_off_at_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path) as log:
        for step in range(1, 6):
            log.write(step, {"loss": 1 / step})
    whole = path.read_bytes()
    with path.open("ab") as stream:
        stream.write(b'{"step": 6, "lo')
    with MetricsLog(path) as log:
        log.rewind(3, tensorboard=False)
        assert path.read_bytes() == b"".join(whole.splitlines(keepends=True)[:3])
        for step in (4, 5):
            log.write(step, {"loss": 1 / step})
    assert path.read_bytes() == whole


@pytest.mark.parametrize("line", [b"5", b"null", b"{}", b'{"step": "2"}', b"\xff", b""])
def test_damaged_lines_of_metrics_are_left_out(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path) as log:
        for step in range(1, 6):
            log.write(step, {"loss": 1 / step})
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([lines[0], line, *lines[2:]]) + b"\n")
    with MetricsLog(path) as log:
        log.rewind(4, tensorboard=False)
    assert path.read_bytes().splitlines() == [lines[0], lines[2], lines[3]]


def test_one_trainer_at_a_time(tmp_path: Path) -> None:
    process = start(tmp_path, SETTINGS, seconds=0.01)
    wait_for_steps(tmp_path, process, 4)
    with pytest.raises(OutputError, match="another process is training there"):
        run(tmp_path, SETTINGS, resume=True)
    process.kill()
    process.join()


def test_writing_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)

    def write(place: Path) -> None:
        (place / "model.safetensors").write_bytes(b"new")
        raise OSError(28, "No space left on device")

    (tmp_path / "model.safetensors").write_bytes(b"old")
    with pytest.raises(OutputError, match="no space left"):
        folder.publish(write)
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]
    assert (tmp_path / "model.safetensors").read_bytes() == b"old"


@pytest.mark.parametrize("gone", ["model.safetensors", "config.json"])
@pytest.mark.parametrize("validate_every", [0, 10])
def test_a_model_that_was_deleted_is_written_again(
    tmp_path: Path, gone: str, validate_every: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Also the best one, when a later checkpoint is the last."""
    settings = {**SETTINGS, "steps": 30, "validate_every": validate_every}
    task = {**TASK, "scores": [5.0, 1.0, 2.0]}
    assert run(tmp_path, settings, **task) == 0
    before = contents(tmp_path)
    (tmp_path / gone).unlink()
    assert run(tmp_path, settings, resume=True, **TASK) == 0
    assert contents(tmp_path) == before
    step = 10 if validate_every else 30
    text = f"{gone} is missing; writing the model again from the checkpoint of step {step}"
    assert text in caplog.text


def test_a_complete_training_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="unsam_cli.progress")
    settings = {**SETTINGS, "steps": 4, "validate_every": 0}
    assert run(tmp_path, settings, **TASK) == 0
    caplog.clear()
    assert run(tmp_path, settings, resume=True, **TASK) == 0
    assert "toy: complete, all 4 steps were already done" in caplog.text
