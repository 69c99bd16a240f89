"""An output is called as a folder is, or is one: 74, and nothing is made of that name."""

from __future__ import annotations

import contextlib
from pathlib import Path

from faults.cases import Case
from faults.kinds import invoke, refused


def applies(case: Case) -> bool:
    """Say whether the command writes a file."""
    return "." in case.output


def check(case: Case, work: Path, folder: Path) -> str | None:
    """Name folders, there or not, for each of the outputs in turn."""
    (folder / "there").mkdir()
    output = folder / case.output
    words = case.words(work, output)
    for name in (case.output, *(name for _, name in case.beside)):
        suffix = Path(name).suffix  # some options want it
        for typed in (f"new{suffix}/", f"new{suffix}/.", f"there/../new{suffix}/", ".", "there"):
            given = [typed if word == str(folder / name) else word for word in words]
            with contextlib.chdir(folder):
                ran = invoke(given)
            if typed in (".", "there") and suffix in (".tsv", ".svg") and ran.exit_code == 2:
                continue  # the suffix is refused first
            if wrong := refused(ran, {74}, "is a folder"):
                return f"{name}: {typed}: {wrong}"
            if [path.name for path in folder.rglob("*")] != ["there"]:
                return f"{name}: {typed}: makes {sorted(folder.rglob('*'))}"
    return None
