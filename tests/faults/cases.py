"""Commands that are put to the test, on small images, and what each gives undisturbed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from support import draw_scene

IMAGES = 6
PROGRAM = (sys.executable, "-m", "unsam_cli")


@dataclass(frozen=True)
class Case:
    """A command: ``unsam NAME INPUTS OPTIONS -o OUTPUT``.

    Parameters
    ----------
    name : str
    inputs : tuple of str
        Files and folders of the workplace.
    options : tuple of str
    output : str
        Its name in any folder.
    expected : bytes
        What is in it when nothing goes wrong.
    seconds : float
        How long that takes.
    resumes : bool
        Whether it takes ``--resume``; the others are run again.
    """

    name: str
    inputs: tuple[str, ...]
    options: tuple[str, ...] = ()
    output: str = "out.json"
    expected: bytes = b""
    seconds: float = 0.0
    resumes: bool = True

    def line(self, work: Path, output: Path | str, *, again: bool = False) -> list[str]:
        """Return the command line with the inputs of `work`."""
        options = [
            str(work / value) if value.endswith((".json", ".h5")) else value
            for value in self.options
        ]
        inputs = [str(work / name) for name in self.inputs]
        resume = ["--resume"] if again and self.resumes else []
        return [*PROGRAM, self.name, *inputs, *options, *resume, "-o", str(output)]


CASES = (
    Case("extract-features", ("photos",), ("--size", "128"), output="features.h5"),
    Case("divide", ("features.h5",), output="objects.json"),
    Case(
        "extract-features",
        ("photos",),
        ("--regions", "objects.json", "--whole-image", "--size", "128"),
        output="regions.h5",
    ),
    Case("conquer", ("regions.h5",), ("--max-masks", "40"), output="masks.json"),
    Case("convert", ("masks.json",), ("--to", "polygons"), output="polygons.json"),
    Case("merge", ("part.0.json", "part.1.json"), output="merged.json", resumes=False),
    Case("evaluate", ("masks.json", "merged.json"), output="report.json", resumes=False),
)


def undisturbed(work: Path) -> list[Case]:
    """Make a workplace with all inputs, and learn what every command gives."""
    (work / "photos").mkdir(parents=True)
    for i in range(IMAGES):
        Image.fromarray(draw_scene(i)).save(work / "photos" / f"{i}.png")
    cases = []
    for case in CASES:
        if case.name == "merge":
            for k in range(2):
                half = ["--max-masks", "40", "--shard", f"{k}/2"]
                _run(
                    [
                        *PROGRAM,
                        "conquer",
                        str(work / "regions.h5"),
                        *half,
                        "-o",
                        str(work / f"part.{k}.json"),
                    ]
                )
        begin = time.perf_counter()
        output = work / case.output
        _run(case.line(work, output))
        seconds = time.perf_counter() - begin
        cases.append(
            Case(
                case.name,
                case.inputs,
                case.options,
                case.output,
                output.read_bytes(),
                seconds,
                case.resumes,
            )
        )
    return cases


def copy_inputs(work: Path, case: Case, target: Path) -> Path:
    """Copy what a command reads, so that it can be damaged."""
    target.mkdir()
    for name in [*case.inputs, *(o for o in case.options if (work / o).is_file())]:
        if (work / name).is_dir():
            shutil.copytree(work / name, target / name)
        else:
            shutil.copy(work / name, target / name)
    return target


def _run(line: list[str]) -> None:
    subprocess.run(line, check=True, capture_output=True, timeout=600)
