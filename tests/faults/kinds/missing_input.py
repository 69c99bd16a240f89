"""An input is not there: 66, with its name, and no output."""

from __future__ import annotations

from pathlib import Path

from faults.cases import Case
from faults.kinds import invoke, refused


def applies(case: Case) -> bool:
    """Say whether the command names a file or folder to read."""
    return bool(case.inputs)


def check(case: Case, work: Path, folder: Path) -> str | None:
    """Give another name for each of the inputs in turn."""
    for name in case.inputs:
        output = folder / case.output
        gone = f"{name}.gone"
        words = [
            word.replace(str(work / name), str(work / gone)) for word in case.words(work, output)
        ]
        wrong = refused(invoke(words), {66}, gone)
        if wrong:
            return f"{gone}: {wrong}"
        if any(folder.iterdir()):
            return f"{gone}: leaves {[path.name for path in folder.iterdir()]}"
    return None
