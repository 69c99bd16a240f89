"""Each fault and each command once; ``PYTHONPATH=tests python -m faults`` does all, many times."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from faults.cases import CASES, Case, undisturbed
from faults.injected import FAULTS, MOUNTING, WORKERS, can_mount

pytestmark = pytest.mark.slow

TRAINING = next(i for i, case in enumerate(CASES) if case.weights)
PAIRS = [(fault, TRAINING if fault in WORKERS else i) for i, fault in enumerate(FAULTS)]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Case]]:
    work = tmp_path_factory.mktemp("faults") / "work"
    return work, undisturbed(work)


def test_each_command_has_a_fault() -> None:
    assert {number % len(CASES) for _, number in PAIRS} == set(range(len(CASES)))


@pytest.mark.parametrize(("fault", "number"), PAIRS)
def test_nothing_is_lost(
    fault: str, number: int, workplace: tuple[Path, list[Case]], tmp_path: Path
) -> None:
    if fault in MOUNTING and not can_mount(tmp_path / "mount"):
        pytest.skip("only root can mount small file systems")
    work, cases = workplace
    folder = tmp_path / "run"
    folder.mkdir()
    case = cases[number % len(CASES)]
    assert FAULTS[fault](case, work, folder, random.Random(fault)) is None
