"""The inputs of all cases, made once for all workers of a test run."""

from __future__ import annotations

import fcntl
import pickle
from pathlib import Path

import pytest
import warm

from faults.cases import CASES, Case, undisturbed


def workplace_of(factory: pytest.TempPathFactory) -> tuple[Path, list[Case]]:
    """Return a workplace with all inputs, and what every command makes of them.

    The first one to ask makes it, for all workers. Nobody changes anything in it.
    """
    base = factory.getbasetemp()
    shared = (base.parent if base.name.startswith("popen-") else base) / "faults"
    shared.mkdir(exist_ok=True)
    with open(shared / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        learnt = shared / "cases.pickle"
        if not learnt.exists():
            learnt.write_bytes(pickle.dumps(undisturbed(shared / "work", CASES, _run)))
        cases: list[Case] = pickle.loads(learnt.read_bytes())
    return shared / "work", cases


def _run(words: list[str]) -> None:
    program = warm.Program(words)
    _, said = program.communicate(600)
    assert program.returncode == 0, (words, said)
