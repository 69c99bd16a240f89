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
from faults.cases import TIMED, Case
from faults.injected import FAULTS, MOUNTING, applies, can_mount
from faults.workplace import workplace_of

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


LONGEST = 1.0
"""Seconds within which moments are drawn; the first run of a command may have compiled kernels."""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Case]]:
    work, cases = workplace_of(tmp_path_factory)
    return work, [replace(case, seconds=min(case.seconds, LONGEST)) for case in cases]


@pytest.fixture
def _warm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(injected, "start", warm.Program)


def test_each_command_has_a_fault() -> None:
    assert {number for _, number in PAIRS} == set(range(len(TIMED)))


@pytest.mark.usefixtures("_warm")
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


@pytest.fixture(scope="module")
def cold(workplace: tuple[Path, list[Case]], tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A command, and how long it takes when nothing has been imported."""
    work, cases = workplace
    case = next(case for case in cases if case.name == "divide")
    begin = time.perf_counter()
    injected.finish(injected.start(case.words(work, tmp_path_factory.mktemp("cold") / "out.json")))
    return replace(case, seconds=time.perf_counter() - begin)


@pytest.mark.parametrize("fault", ["kill -9", "SIGTERM", "SIGUSR1", "SIGINT"])
def test_nothing_is_lost_when_a_cold_program_starts(
    fault: str,
    cold: Case,
    workplace: tuple[Path, list[Case]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work, _ = workplace
    first = iter([injected.start])  # it is the first run that is disturbed
    monkeypatch.setattr(injected, "start", lambda words: next(first, warm.Program)(words))
    folder = tmp_path / "run"
    folder.mkdir()
    assert FAULTS[fault](cold, work, folder, random.Random(fault)) is None
