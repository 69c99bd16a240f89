"""Disturb every command in every way: ``PYTHONPATH=tests python -m faults [--rounds N]``.

Prints a table of faults, runs, and runs survived: nothing lost, nothing doubled, no half-written
file under its final name, the right exit code, one clear line. Exits with 1 if any was not.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

from faults.cases import Case, undisturbed
from faults.injected import FAULTS, MOUNTING, can_mount


def disturb(fault: str, case: Case, work: Path, folder: Path, seed: str) -> str | None:
    """Make one run; return what was wrong."""
    folder.mkdir()
    return FAULTS[fault](case, work, folder, Random(seed))


def main() -> int:
    """Run all faults on all commands."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of each fault on each command")
    parser.add_argument("--only", help="this fault")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        work = root / "work"
        cases = undisturbed(work)
        able = can_mount(root / "mount")
        names = [n for n in FAULTS if (able or n not in MOUNTING) and options.only in (None, n)]
        plan = [(f, c, n) for n in range(options.rounds) for f in names for c in cases]
        with ThreadPoolExecutor(options.jobs) as pool:
            wrong = list(
                pool.map(
                    lambda p: disturb(
                        p[0],
                        p[1],
                        work,
                        root / f"{p[0]}-{p[1].output}-{p[2]}",
                        f"{p[0]}{p[1].output}{p[2]}",
                    ),
                    plan,
                )
            )
    runs = Counter(fault for fault, _, _ in plan)
    failed = Counter(fault for (fault, _, _), text in zip(plan, wrong, strict=True) if text)
    print("| fault | runs | survived |\n|---|---|---|")
    for fault in names:
        print(f"| {fault} | {runs[fault]} | {runs[fault] - failed[fault]} |")
    print(f"| all | {len(plan)} | {len(plan) - failed.total()} |")
    for (fault, case, n), text in zip(plan, wrong, strict=True):
        if text:
            print(f"{fault}, {case.name} -o {case.output}, round {n}: {text}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
