"""Each fault and each command once; ``PYTHONPATH=tests python -m faults`` does all, many times.

Programs start warm here, so that faults meet their work, and cold there.
"""

from __future__ import annotations

import random
import time
from collections import deque
from dataclasses import replace
from pathlib import Path

import pytest
import warm

from faults import injected
from faults.cases import TIMED, Case, undisturbed
from faults.injected import FAULTS, MOUNTING, applies, can_mount

pytestmark = pytest.mark.slow


def pairs() -> list[tuple[str, int]]:
    """Each fault with a command that can meet it, each command in turn."""
    turn = deque(range(len(TIMED)))
    found = []
    for fault in FAULTS:
        number = next(i for i in turn if applies(fault, TIMED[i]))
        turn.remove(number)
        turn.append(number)
        found.append((fault, number))
    return found


PAIRS = pairs()


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Case]]:

    def run(words: list[str]) -> None:
        program = warm.Program(words)
        _, said = program.communicate(600)
        assert program.returncode == 0, (words, said)

    work = tmp_path_factory.mktemp("faults") / "work"
    return work, undisturbed(work, TIMED, run)


@pytest.fixture(autouse=True)
def _warm(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "cold" not in request.node.name:
        monkeypatch.setattr(injected, "start", warm.Program)


def test_each_command_has_a_fault() -> None:
    assert {number for _, number in PAIRS} == set(range(len(TIMED)))


@pytest.mark.parametrize(("fault", "number"), PAIRS)
def test_nothing_is_lost(
    fault: str, number: int, workplace: tuple[Path, list[Case]], tmp_path: Path
) -> None:
    if fault in MOUNTING and not can_mount(tmp_path / "mount"):
        pytest.skip("only root can mount small file systems")
    work, cases = workplace
    folder = tmp_path / "run"
    folder.mkdir()
    case = cases[number]
    assert FAULTS[fault](case, work, folder, random.Random(fault)) is None


@pytest.mark.parametrize("fault", ["kill -9", "SIGTERM", "SIGUSR1", "SIGINT"])
def test_nothing_is_lost_when_a_cold_program_starts(
    fault: str, workplace: tuple[Path, list[Case]], tmp_path: Path
) -> None:
    work, cases = workplace
    case = next(case for case in cases if case.name == "divide")
    begin = time.perf_counter()
    injected.finish(injected.start(case.words(work, tmp_path / case.output)))
    case = replace(case, seconds=time.perf_counter() - begin)
    folder = tmp_path / "run"
    folder.mkdir()
    assert FAULTS[fault](case, work, folder, random.Random(fault)) is None
