"""Several processes make the steps that one makes."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch
import warm
from toy_training import finish, last_checkpoint, metrics_of, run, start, wait_for_steps, weights_of

from unsam_cli.errors import UsageError
from unsam_cli.training.distributed import Place, find_place, first_host

pytestmark = pytest.mark.torch

SETTINGS: dict[str, Any] = {"validate_every": 5, "ema": 0.5}


def assert_alike(folder: Path, other: Path) -> None:
    assert last_checkpoint(folder).name == last_checkpoint(other).name
    for name, value in weights_of(folder).items():
        torch.testing.assert_close(value, weights_of(other)[name])
    for mine, its in zip(metrics_of(folder), metrics_of(other), strict=True):
        assert mine == pytest.approx(its, rel=1e-4)


def start_as_srun_does(
    folder: Path, settings: dict[str, Any], size: int = 2, **options: Any
) -> list[BaseProcess]:
    job = os.getpid()
    return [
        start(
            folder,
            settings,
            {
                "SLURM_JOB_ID": str(job),
                "SLURM_PROCID": str(rank),
                "SLURM_NTASKS": str(size),
                "SLURM_LOCALID": str(rank),
                "SLURM_JOB_NODELIST": "localhost",
            },
            **options,
        )
        for rank in range(size)
    ]


@pytest.mark.slow
def test_torchrun(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    torchrun = f"--nproc-per-node 2 --master-port {port} --no-python"
    script = [*shlex.split(warm.command("toy_training")), str(tmp_path / "two")]
    words = [*torchrun.split(), *script, json.dumps(SETTINGS)]
    program = warm.Program(words, module="torch.distributed.run")
    said, errors = program.communicate(120)
    assert program.returncode == 0, (said, errors)
    run(tmp_path / "one", SETTINGS)
    assert_alike(tmp_path / "one", tmp_path / "two")


def test_srun_with_accumulation_and_more_processes_after_a_stop(tmp_path: Path) -> None:
    run(tmp_path / "one", SETTINGS)
    two = tmp_path / "two"
    first, second = start_as_srun_does(two, {**SETTINGS, "accumulate": 2}, seconds=0.02)
    wait_for_steps(two, first, 2)
    assert second.pid is not None
    os.kill(second.pid, signal.SIGUSR1)  # one hears it, all stop
    assert [finish(first), finish(second)] == [75, 75]
    assert last_checkpoint(two).name < "step-00000012"
    processes = start_as_srun_does(two, SETTINGS, 4, resume=True)
    assert [finish(process) for process in processes] == [0] * 4
    assert_alike(tmp_path / "one", two)


def test_what_one_has_skipped_all_know_of(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    processes = start_as_srun_does(folder, {**SETTINGS, "steps": 6}, skipped_index=4)
    assert [finish(process) for process in processes] == [3, 3]
    (line,) = (tmp_path / "run.errors.jsonl").read_text().splitlines()
    assert json.loads(line) == {"file_name": "4.png", "stage": "toy", "error": "damaged"}


@pytest.mark.parametrize(
    ("task", "code", "message"),
    [
        ({"nan_index": 0}, 1, "square is nan for "),
        ({"bad_index": 0}, 65, "0.png: cannot be decoded"),
    ],
)
def test_all_end_with_the_error_of_one_and_one_tells_it(
    tmp_path: Path, task: dict[str, int], code: int, message: str
) -> None:
    processes = start_as_srun_does(tmp_path / "run", SETTINGS, **task)
    assert [finish(process) for process in processes] == [code, code]
    lines = (tmp_path / "run.txt").read_text().splitlines()
    assert len(lines) == 1
    assert message in lines[0]
    assert "0.png" in lines[0]


def test_a_folder_in_use_is_refused_by_all(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert [finish(process) for process in start_as_srun_does(tmp_path, {})] == [2, 2]


def test_places() -> None:
    assert find_place({}) == Place()
    torchrun = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_PORT": "29500"}
    assert find_place(torchrun | {"MASTER_ADDR": "a"}) == Place(3, 4, 1, "a", 29500)
    slurm = {
        "SLURM_PROCID": "5",
        "SLURM_NTASKS": "8",
        "SLURM_LOCALID": "1",
        "SLURM_JOB_ID": "1234567",
        "SLURM_JOB_NODELIST": "gpu[07-09,12],login",
    }
    place = find_place(slurm)
    assert (place.rank, place.size, place.local_rank, place.address) == (5, 8, 1, "gpu07")
    assert 20_000 <= place.port < 32_000
    in_step = slurm | {"SLURM_STEP_ID": "1", "SLURM_STEP_NUM_TASKS": "6", "SLURM_TASK_PID": "1"}
    assert find_place(in_step).size == 6
    assert find_place(in_step).port != place.port
    assert find_place(slurm | torchrun).size == 4
    assert find_place(slurm | {"SLURM_NTASKS": "1", "SLURM_PROCID": "0"}) == Place()
    in_batch_script = slurm | {"SLURM_PROCID": "0", "SLURM_TASK_PID": "77"}
    assert find_place(in_batch_script) == Place()
    for broken in ({"RANK": "x", "WORLD_SIZE": "2"}, {"RANK": "2", "WORLD_SIZE": "2"}):
        with pytest.raises(UsageError, match="environment"):
            find_place(broken)


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        ("a1,a2", "a1"),
        ("gpu[07-09]", "gpu07"),
        ("gpu[3,5]-ib,x", "gpu3-ib"),
        ("rack[1-2]n[04-05]", "rack1n04"),
        ("alone", "localhost"),
        ("", "localhost"),
    ],
)
def test_first_host(hosts: str, first: str) -> None:
    assert first_host(hosts) == first
