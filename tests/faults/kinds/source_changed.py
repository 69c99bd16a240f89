"""An input changes between an interrupted run and ``--resume``.

Refused, or what a run on the new input gives: nothing is left of what the input was before.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from unittest import mock

from faults.cases import IMAGES, Case, copy_inputs
from faults.injected import EXCHANGES
from faults.kinds import invoke
from unsam_cli.errors import OutputError
from unsam_cli.run.journal import Journal


def applies(case: Case) -> bool:
    """Say whether the command goes on with what it has; trainings are tried elsewhere."""
    return case.resumes and not case.weights


def check(case: Case, work: Path, folder: Path) -> str | None:
    """Exchange each of the inputs in turn."""
    for name in [*case.inputs, *(o for o in case.options if (work / o).exists())]:
        place = folder / name
        place.mkdir()
        wrong = one_changed(case, work, place, name)
        if wrong:
            return f"{name}: {wrong}"
        shutil.rmtree(place)
    return None


def one_changed(case: Case, work: Path, folder: Path, name: str) -> str | None:
    """Interrupt the command, exchange one input, go on, and compare with a new run."""
    inputs = copy_inputs(work, case, folder / "inputs")
    output, fresh = folder / "one" / case.output, folder / "two" / case.output
    output.parent.mkdir()
    fresh.parent.mkdir()
    if interrupted(case.words(inputs, output)) != 74:
        return "was not interrupted"
    exchange(inputs / name)
    ran = invoke(case.words(inputs, output, again=True))
    if ran.exit_code not in (0, 2, 65):
        return f"exit code {ran.exit_code}: {ran.stderr[-300:]}"
    if ran.exit_code:
        return None if "is now" in ran.stderr else f"refused for another reason: {ran.stderr}"
    ran = invoke(case.words(inputs, fresh))
    if ran.exit_code or case.result(output) != case.result(fresh):
        return "something is left of what the input was before"
    return None


def interrupted(words: list[str]) -> int:
    """Run a command whose disk is full after half of the images; return its exit code."""
    append, calls = Journal.append_parts, iter(range(IMAGES // 2))

    def failing(self: Journal, *args: Any, **kwargs: Any) -> None:
        if next(calls, None) is None:
            raise OutputError("no space left")
        append(self, *args, **kwargs)

    with mock.patch.object(Journal, "append_parts", failing):
        return invoke(words).exit_code


def exchange(path: Path) -> None:
    """Let an input be another one, as good as it was: of a folder, its first file."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    weights = [file for file in files if file.suffix == ".safetensors"]
    chosen = (weights or files)[0]
    if chosen.suffix == ".tsv":
        chosen.write_bytes(chosen.read_bytes().replace(b'"score":0.', b'"score":0.0', 1))
    else:
        EXCHANGES[chosen.suffix](chosen)
