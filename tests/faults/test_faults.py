"""Each fault once, on one command; ``PYTHONPATH=tests python -m faults`` does all, many times."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from faults.cases import CASES, Case, undisturbed
from faults.injected import FAULTS, MOUNTING, can_mount

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Case]]:
    work = tmp_path_factory.mktemp("faults") / "work"
    return work, undisturbed(work)


@pytest.mark.parametrize(("fault", "number"), [(name, i) for i, name in enumerate(FAULTS)])
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
