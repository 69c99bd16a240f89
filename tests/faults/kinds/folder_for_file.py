"""A folder stands where a file is expected: said so, or that it has no such files."""

from __future__ import annotations

from pathlib import Path

from faults.cases import Case
from faults.kinds import invoke, refused


def applies(case: Case) -> bool:
    """Say whether the command names a file to read."""
    return any("." in name for name in case.inputs)


def check(case: Case, work: Path, folder: Path) -> str | None:
    """Give an empty folder for each of the input files in turn."""
    empty = folder / "empty"
    empty.mkdir()
    for name in case.inputs:
        if (work / name).is_file():
            words = case.words(work, folder / case.output)
            words = [str(empty) if word == str(work / name) else word for word in words]
            ran = invoke(words)
            wrong = refused(ran, {65, 66}, str(empty))
            if wrong or ("is a folder" not in ran.stderr and "has no" not in ran.stderr):
                return f"{name}: {wrong or ran.stderr}"
    return None
