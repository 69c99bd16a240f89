"""Disturb every command in every way: ``PYTHONPATH=tests python -m faults [--rounds N]``.

Prints a table of faults, runs, and runs survived: nothing lost, nothing doubled, no half-written
file under its final name, the right exit code, one clear line. Exits with 1 if any was not.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from random import Random

from faults.cases import Case, undisturbed
from faults.injected import FAULTS, MOUNTING, applies, can_mount

Run = tuple[str, Case, int]
"""A fault, a command, and the number of the round."""


def disturb(work: Path, root: Path, run: Run) -> str | None:
    """Make one run; say what was wrong at once, and return it."""
    fault, case, number = run
    folder = root / f"{fault}-{case.output}-{number}"
    folder.mkdir()
    wrong = FAULTS[fault](case, work, folder, Random(folder.name))
    shutil.rmtree(folder)
    if wrong:
        print(f"{fault}, {case.name} -o {case.output}, round {number}: {wrong}", file=sys.stderr)
    return wrong


def main() -> int:
    """Run all faults on all commands."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of each fault on each command")
    parser.add_argument("--only", help="this fault")
    parser.add_argument("--outputs", nargs="+", help="only the commands that write these")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        work = root / "work"
        cases = [c for c in undisturbed(work) if not options.outputs or c.output in options.outputs]
        able = can_mount(root / "mount")
        names = [n for n in FAULTS if (able or n not in MOUNTING) and options.only in (None, n)]
        plan = [
            (fault, case, number)
            for number in range(options.rounds)
            for fault in names
            for case in cases
            if applies(fault, case)
        ]
        with ThreadPoolExecutor(options.jobs) as pool:
            wrong = list(pool.map(partial(disturb, work, root), plan))
    runs = Counter(fault for fault, _, _ in plan)
    failed = Counter(fault for (fault, _, _), text in zip(plan, wrong, strict=True) if text)
    print("| fault | runs | survived |\n|---|---|---|")
    for fault in names:
        print(f"| {fault} | {runs[fault]} | {runs[fault] - failed[fault]} |")
    print(f"| all | {len(plan)} | {len(plan) - failed.total()} |")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
