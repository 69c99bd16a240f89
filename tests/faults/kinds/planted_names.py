"""Something stands at a name that a command uses while it works: a link, a pipe, a second name.

It is replaced or refused, in one clear line. Nobody waits for it, and no byte goes through it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from click.testing import Result

from faults.cases import Case
from faults.kinds import invoke, refused

PRECIOUS = b"precious\n"
PATIENCE = 60
"""Seconds until a command is said to wait without end."""


def _link(place: Path, victim: Path) -> None:
    place.symlink_to(victim)


def _second_name(place: Path, victim: Path) -> None:
    place.hardlink_to(victim)


def _pipe(place: Path, victim: Path) -> None:
    os.mkfifo(place)


KINDS: tuple[Callable[[Path, Path], None], ...] = (_link, _second_name, _pipe)


def applies(case: Case) -> bool:
    """Every command that writes can meet it."""
    return True


def check(case: Case, work: Path, folder: Path) -> str | None:
    """Plant something at every name, each kind at each; then a link as the partial output."""
    rounds = 1 if case.weights else len(KINDS)  # trainings take long, and have many names
    for turn in range(rounds):
        here = folder / f"{turn}"
        output = here / case.output
        for i, place in enumerate(names_of(case, work, output)):
            place.parent.mkdir(parents=True, exist_ok=True)
            KINDS[(turn + i) % len(KINDS)](place, precious(here / f"victim-{i}"))
        if wrong := ends_well(case, work, output):
            return f"round {turn}: {wrong}"
    here = folder / "linked"
    (here / "elsewhere").mkdir(parents=True)
    precious(here / "elsewhere" / "journal.ndjson")
    part = here / f"{case.output}.part"
    part.symlink_to("elsewhere")
    return ends_well(case, work, here / case.output)


def precious(path: Path) -> Path:
    """Make a file that is to stay as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(PRECIOUS)
    return path


def names_of(case: Case, work: Path, output: Path) -> Iterator[Path]:
    """Yield the names of what is there for a while only, and of lists that may be there."""
    made = work / case.output
    if case.weights:
        yield from (output / ".model.tmp", output / "metrics.jsonl")
        yield from (output / "checkpoints" / f".step-{step:08d}.tmp" for step in (2, 4, 6))
        return
    for name in ("journal.ndjson", "blob.bin"):
        yield output.with_name(f"{output.name}.part") / name
    yield output.with_name(f"{output.name}.errors.jsonl")
    files = [made] if made.is_file() else [p for p in made.rglob("*") if p.is_file()]
    if case.name == "convert checkpoint":  # the folder as a whole has such a name
        files = [made]
    for file in [*files, *(work / name for _, name in case.beside)]:
        place = output.parent / file.relative_to(work)
        yield place.with_name(f".{place.name}.tmp")
        if case.name == "convert checkpoint":
            yield place.with_name(f".{place.name}.old")
    yield output.with_suffix(".lineidx").with_name(f".{output.stem}.lineidx.tmp")


def ends_well(case: Case, work: Path, output: Path) -> str | None:
    """Run the command; say what is wrong with its end, or which file is not as it was."""
    ran = in_time(case.words(work, output, again=bool(case.weights)))
    if ran is None:
        return "waits without end"
    if ran.exit_code:
        if wrong := refused(ran, {74}):
            return wrong
    elif not case.weights and case.result(output) != case.expected:
        return "the output is another one"
    victims = [*output.parent.glob("victim-*"), *output.parent.glob("elsewhere/*")]
    lost = [path.name for path in victims if path.read_bytes() != PRECIOUS]
    return f"{lost} is not as it was" if lost else None


def in_time(words: list[str]) -> Result | None:
    """Run a command; None if it does not end."""

    def give_up(number: int, frame: object) -> None:
        raise TimeoutError("waits")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE)
    try:
        ran = invoke(words)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return None if "waits" in ran.stderr else ran
