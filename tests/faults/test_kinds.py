"""The table of commands and kinds of mistakes: each command makes each mistake.

A command is covered by being listed in :mod:`faults.cases`, a kind by being a module of
:mod:`faults.kinds`.
"""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from faults.cases import CASES, WITHOUT_OUTPUT, Case
from faults.kinds import KINDS
from faults.workplace import workplace_of
from unsam_cli.cli import cli

TABLE = [
    pytest.param(kind, number, id=f"{kind}-{case.name}-{case.output}")
    for kind, module in KINDS.items()
    for number, case in enumerate(CASES)
    if module.applies(case)
]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Case]]:
    return workplace_of(tmp_path_factory)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "number"), TABLE)
def test_a_mistake_does_no_harm(
    kind: str, number: int, workplace: tuple[Path, list[Case]], tmp_path: Path
) -> None:
    work, cases = workplace
    folder = tmp_path / "run"
    folder.mkdir()
    assert KINDS[kind].check(cases[number], work, folder) is None


def test_every_command_is_listed() -> None:
    listed = {case.name.split()[0] for case in CASES}
    commands = set(cli.list_commands(click.Context(cli)))
    assert commands - listed - WITHOUT_OUTPUT.keys() == set(), "list them in faults/cases.py"
    assert listed & WITHOUT_OUTPUT.keys() == set()
    assert WITHOUT_OUTPUT.keys() <= commands
