"""Programs that start warm are what programs are that start cold."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import pytest
import warm
from support import RunProgram

PROBE = "warm.probe"


def cold(*words: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", PROBE, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=cwd,
        check=False,
    )


def seen(said: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(said)
    return found


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))


@pytest.mark.parametrize("number", [0, 3, 75, -signal.SIGKILL, -signal.SIGTERM])
def test_it_is_the_same_process(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    expected = cold(str(number), cwd=tmp_path)
    environment = dict(os.environ)
    program = warm.Program([str(number)], module=PROBE, cwd=tmp_path)
    said, errors = program.communicate(60)
    assert (program.returncode, errors) == (expected.returncode, expected.stderr) == (number, b"")
    if number >= 0:  # else nothing is flushed
        found, wanted = seen(said), seen(expected.stdout)
        assert found.pop("environment") == environment
        del wanted["environment"]  # what C libraries of this process have set is in there, too
        assert found == wanted


def test_limits_and_signals(tmp_path: Path) -> None:
    limits = {resource.RLIMIT_NOFILE: 30}
    ignored = (int(signal.SIGXFSZ),)
    program = warm.Program([], module=PROBE, cwd=tmp_path, limits=limits, ignored=ignored)
    found = seen(program.communicate(60)[0])
    assert found["limits"]["RLIMIT_NOFILE"] == [30, 30]
    assert int(found["signals"]["SigIgn"], 16) >> (signal.SIGXFSZ - 1) & 1


def test_a_program_that_runs_can_be_killed(tmp_path: Path) -> None:
    program = warm.Program(["0", "wait"], module=PROBE, cwd=tmp_path)
    assert program.stdout is not None
    assert program.stdout.readline().startswith(b"{")
    assert program.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        program.wait(0.01)
    program.kill()
    assert program.wait(60) == -signal.SIGKILL
    assert program.communicate() == (b"", b"")


def test_shells_see_the_program(program: RunProgram, tmp_path: Path) -> None:
    pipe = "echo x | unsam divide | cat; echo ${PIPESTATUS[1]}"
    ran = program(f"unsam divide none.h5; echo $?; {pipe}")
    assert ran.stdout == b"66\n65\n"
    assert b"none.h5: no such file" in ran.stderr
    assert program("unsam --version > said 2>&1; exit $?").returncode == 0
    assert b"version" in (tmp_path / "said").read_bytes()
    assert program("unsam divide none.h5").returncode == 66


def test_kernels_are_locked_while_they_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numba calls what :mod:`kernels` replaces; a kernel waits for none that waits for it."""
    locked: list[str] = []
    monkeypatch.setattr("fcntl.lockf", lambda file, how: locked.append(file.name))

    def add(x: float) -> float:
        return x + 1

    def twice(x: float) -> float:
        found: float = inner(x) + inner(2.0 * x)
        return found

    inner = numba.njit(add)
    assert numba.njit(twice)(1) == 5
    first, *others = (name.rpartition(".")[2] for name in locked)
    assert (first, set(others)) == ("twice", {"add"})
