"""An earlier output may be read by some only: a new one in its place has the same mode."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

from faults.cases import Case
from faults.kinds import invoke

MODE = 0o640


def applies(case: Case) -> bool:
    """Every command that writes can replace what it wrote."""
    return True


def check(case: Case, work: Path, folder: Path) -> str | None:
    """Run the command on a copy of its outputs; of a training the weights are written again."""
    output = folder / case.output
    for name in (case.output, *(name for _, name in case.beside)):
        copy = shutil.copytree if (work / name).is_dir() else shutil.copy
        copy(work / name, folder / name)
    before = {path: path.stat().st_ino for path in folder.rglob("*") if path.is_file()}
    for path in before:
        path.chmod(MODE)
    if case.weights:
        del before[output / case.weights]
        (output / case.weights).unlink()
    ran = invoke(case.words(work, output, again=bool(case.weights)))
    if ran.exit_code:
        return f"exit code {ran.exit_code}: {ran.stderr[-300:]}"
    replaced = [p for p, inode in before.items() if p.exists() and p.stat().st_ino != inode]
    if not replaced:
        return "nothing was replaced"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in replaced}
    return next((f"{name} has mode {mode:o}" for name, mode in modes.items() if mode != MODE), None)
