"""A process may open no more files: said so, 74, whichever file was one too many; or it is done.

More and more files are allowed, from none on, until there are enough. Nothing is half-written, and
no input is said to be damaged. A training whose workers cannot hand over a batch may say 1.

In a process of its own: the process that runs the tests needs files, too.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import warm

from faults.cases import CASES, Case
from faults.kinds import invoke, refused

OPEN = Path("/proc/self/fd")
COUNTS = range(40)
TRAINING = (0, 1, 5, 20, 100)
"""How many are tried of a training, which takes long, and hands over batches as open files."""


def applies(case: Case) -> bool:
    """Every command opens files; one of each kind is enough, since a process has to start."""
    return OPEN.is_dir() and case.timed


def check(case: Case, work: Path, folder: Path) -> str | None:
    """Allow more and more files, in another process."""
    number = next(i for i, one in enumerate(CASES) if one.output == case.output)
    words = [str(number), str(work), str(folder)]
    program = warm.Program(words, module="faults.kinds.few_files")
    found, said = program.communicate(600)
    if program.returncode:
        return f"ends with {program.returncode}: {said!r}"
    return found.decode() or None


def grow(case: Case, work: Path, folder: Path) -> str | None:
    """Allow more and more files in this process."""
    for count in TRAINING if case.weights else COUNTS:
        output = folder / f"{count}" / case.output
        output.parent.mkdir()
        with allowed(count):
            ran = invoke(case.words(work, output))
        if ran.exit_code == 0:
            return None if case.result(output) == case.expected else f"{count}: another output"
        wrong = refused(ran, {74, 1} if case.weights else {74})
        if wrong or (not case.weights and (wrong := half_written(work / case.output, output))):
            return f"{count} files: {wrong}"
    return f"{count} files are not enough: {ran.stderr}"


def half_written(expected: Path, output: Path) -> str | None:
    """Say which file is not as it should be; of a folder, some may not be there."""
    files = [output] if output.is_file() else [p for p in output.rglob("*") if p.is_file()]
    for path in files:
        wanted = expected / path.relative_to(output)
        if not wanted.is_file() or path.read_bytes() != wanted.read_bytes():
            return f"{path.name} is half-written, or left over"
    return None


@contextlib.contextmanager
def allowed(count: int) -> Iterator[None]:
    """Let this process open so many files more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_limit(count), hard))
    try:
        with mock.patch.object(resource, "setrlimit"):  # which would allow more
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _limit(count: int) -> int:
    """Return the number below which so many are free; the next file takes the lowest."""
    taken = {int(name) for name in os.listdir(OPEN)}  # and one that this listing has had
    numbers = (number for number in itertools.count() if number not in taken)
    return next(itertools.islice(numbers, count, None))


if __name__ == "__main__":
    chosen, place = CASES[int(sys.argv[1])], Path(sys.argv[2])
    made = replace(chosen, expected=chosen.result(place / chosen.output) or b"")
    print(grow(made, place, Path(sys.argv[3])) or "", end="")
