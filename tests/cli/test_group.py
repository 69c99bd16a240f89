"""How commands are found, listed, and understood when they are mistyped."""

from __future__ import annotations

import click
import pytest
from support import Invoke

from unsam_cli import __version__
from unsam_cli.cli import cli
from unsam_cli.cli.group import SECTIONS, rearranged


def test_every_command_has_a_section() -> None:
    listed = [name for names in SECTIONS.values() for name in names]
    found = cli.list_commands(click.Context(cli))
    assert set(found) <= set(listed)
    assert found == [name for name in listed if name in found]
    assert found[:4] == ["run", "extract-features", "divide", "conquer"]


def test_the_help_names_sections_exit_codes_and_settings(invoke: Invoke) -> None:
    for words in (["-h"], ["--help"], ["help"]):
        ran = invoke(*words)
        assert ran.exit_code == 0
        for text in ("Networks:\n  train ", "75 stopped by a signal", "UNSAM_DIVIDE_TAU"):
            assert text in ran.stdout


def test_help_and_version_are_commands_too(invoke: Invoke) -> None:
    assert invoke("help", "divide").stdout == invoke("divide", "--help").stdout
    assert invoke("version").stdout == f"unsam, version {__version__}\n"


@pytest.mark.parametrize(
    ("word", "hint"),
    [("divde", "did you mean divide?"), ("extract", "did you mean extract-features?"), ("xyz", "")],
)
def test_the_most_similar_command_is_named(word: str, hint: str, invoke: Invoke) -> None:
    ran = invoke(word)
    assert ran.exit_code == 2
    hint = f"; {hint}" if hint else ""
    assert ran.stderr == f"unsam: error: no such command: {word}{hint} (see unsam --help)\n"


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["-q", "divide", "a.h5"], ["divide", "-q", "a.h5"]),
        (["-vv", "--log-json", "info", "-"], ["info", "-vv", "--log-json", "-"]),
        (["divide", "help"], ["divide", "help"]),
        (["-q"], ["-q"]),
        (["--version"], ["--version"]),
        ([], []),
    ],
)
def test_flags_may_stand_before_the_command(words: list[str], meant: list[str]) -> None:
    assert rearranged(words) == meant
