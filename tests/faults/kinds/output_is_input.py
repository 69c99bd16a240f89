"""An output is a file that the command reads, by name or as a link: 2, and no byte is lost.

Tried are all files that a command writes (its output, what lies beside it, the list of errors, the
files of a folder), each as a hard link to one file of every input.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from faults.cases import Case, copy_inputs
from faults.kinds import invoke, refused

READ = (".png", ".json", ".safetensors", ".h5", ".pth", ".tsv")


def applies(case: Case) -> bool:
    """Say that every command that writes can make it."""
    return True


def check(case: Case, work: Path, folder: Path) -> str | None:
    """Link each file that is written to a file that is read, one pair after the other."""
    inputs = copy_inputs(work, case, folder / "inputs")
    before = {path: path.read_bytes() for path in inputs.rglob("*") if path.is_file()}
    for number, source in enumerate(read_of(inputs)):
        for written in written_by(case, work):
            output = folder / f"{number}" / case.output
            target = Path(str(output) + written)
            if case.weights:  # a folder that is not empty is only written to on --resume
                wrong = _resumed(case, inputs, source, output)
            else:
                wrong = _linked(case, inputs, source, output, target)
            lost = [str(p) for p, content in before.items() if p.read_bytes() != content]
            if wrong or lost:
                return f"{source.relative_to(inputs)} as {target.name}: {wrong or lost}"
    return None


def read_of(inputs: Path) -> Iterator[Path]:
    """Yield a file of each input, those of a kind once."""
    for place in sorted(inputs.iterdir()):
        files = [place] if place.is_file() else sorted(place.glob("*"))
        suffixes = {file.suffix: file for file in files if file.suffix in READ}
        yield from (file for file in suffixes.values() if file.name != "metrics.jsonl")


def written_by(case: Case, work: Path) -> Iterator[str]:
    """Yield what is written, as it follows upon the name of the output."""
    output = work / case.output
    if output.is_dir():
        yield "/" + str(min(p for p in output.rglob("*") if p.is_file()).relative_to(output))
    else:
        yield ""
        yield from (f"/../{name}" for _, name in case.beside)
        yield ".errors.jsonl"


def _linked(case: Case, inputs: Path, source: Path, output: Path, target: Path) -> str | None:
    target.parent.mkdir(parents=True, exist_ok=True)
    place = Path(os.path.abspath(target))
    place.parent.mkdir(parents=True, exist_ok=True)
    os.link(source, place)
    wrong = refused(invoke(case.words(inputs, output)), {2}, str(place.name))
    place.unlink()
    return wrong


def _resumed(case: Case, inputs: Path, source: Path, output: Path) -> str | None:
    output.mkdir(parents=True, exist_ok=True)
    (output / "config.json").write_text("{}")
    os.link(source, output / "metrics.jsonl")
    wrong = refused(invoke([*case.words(inputs, output), "--resume"]), {2}, "metrics.jsonl")
    (output / "metrics.jsonl").unlink()
    return wrong
