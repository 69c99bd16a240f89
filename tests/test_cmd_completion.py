"""completion as a user runs it: the script is loaded by a shell, and Tab finds commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import Invoke

SHELLS = ["bash", "zsh", "fish"]
# What bash does on Tab, with the words of the line in an array.
PRESS_TAB = """
source completion.bash
complete -p unsam
COMP_WORDS=({line}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
_unsam_completion unsam
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def folder(tmp_path: Path, invoke: Invoke) -> Path:
    """Return a folder with a program ``unsam``, and its completion for bash."""
    unsam = tmp_path / "unsam"
    unsam.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m unsam_cli "$@"\n')
    unsam.chmod(0o755)
    ran = invoke("completion", "bash")
    assert (ran.exit_code, ran.stderr) == (0, "")
    (tmp_path / "completion.bash").write_text(ran.stdout)
    return tmp_path


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("unsam con", ["conquer", "convert"]),
        ("unsam divide --max-m", ["--max-masks"]),
        ("unsam divide --format nd", ["ndjson"]),
    ],
)
def test_bash_completes_commands_options_and_choices(
    line: str, offered: list[str], folder: Path
) -> None:
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(
        ["bash", "--norc", "-c", PRESS_TAB.format(line=line)],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    registered, *found = ran.stdout.splitlines()
    assert registered.endswith("-F _unsam_completion unsam")
    assert (found, ran.stderr) == (offered, "")


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_is_one_that_the_shell_can_read(
    shell: str, invoke: Invoke, tmp_path: Path
) -> None:
    ran = invoke("completion", shell)
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert f"_UNSAM_COMPLETE={shell}_complete" in ran.stdout
    (tmp_path / "script").write_text(ran.stdout)
    if shutil.which(shell):
        subprocess.run([shell, "-n", tmp_path / "script"], check=True)


def test_another_shell_is_refused(invoke: Invoke) -> None:
    ran = invoke("completion", "ksh")
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert "'ksh' is not one of 'bash', 'zsh', 'fish'" in ran.stderr
