"""Commands that are put to the test, on small images, and what each gives undisturbed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image
from sam_models import make_sam
from support import draw_scene

IMAGES = 6
PROGRAM = (sys.executable, "-m", "unsam_cli")


@dataclass(frozen=True)
class Case:
    """A command: ``unsam NAME INPUTS OPTIONS -o OUTPUT``.

    Parameters
    ----------
    name : str
        May have a second word, as of ``convert checkpoint``.
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
    weights : str
        Of a command whose output is a folder: the file in it that counts.
    """

    name: str
    inputs: tuple[str, ...]
    options: tuple[str, ...] = ()
    output: str = "out.json"
    expected: bytes = b""
    seconds: float = 0.0
    resumes: bool = True
    weights: str = ""

    def result(self, output: Path) -> bytes | None:
        """Return what is under the final name; None while nothing is."""
        path = output / self.weights if self.weights else output
        return path.read_bytes() if path.exists() else None

    def line(self, work: Path, output: Path | str, *, again: bool = False) -> list[str]:
        """Return the command line with the inputs of `work`."""
        options = [
            str(work / value) if (work / value).exists() else value for value in self.options
        ]
        inputs = [str(work / name) for name in self.inputs]
        resume = ["--resume"] if again and self.resumes else []
        return [*PROGRAM, *self.name.split(), *inputs, *options, *resume, "-o", str(output)]


_TINY = (
    *("--preset", "tiny", "--steps", "6", "--checkpoint-every", "2", "--points", "32"),
    *("--max-masks", "5", "--jobs", "1", "--device", "cpu"),
)
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
    Case("merge", ("0.features.h5", "1.features.h5"), output="merged.h5", resumes=False),
    Case("merge", ("0.masks.json", "1.masks.json"), output="merged.json", resumes=False),
    Case("evaluate", ("masks.json", "merged.json"), output="report.json", resumes=False),
    Case("view", ("masks.json",), ("--images", "photos"), output="report.html", resumes=False),
    Case(
        "train",
        ("masks.json",),
        ("--images", "photos", *_TINY, "--queries", "5", "--hidden", "32", "--crop", "64"),
        output="run",
        weights="model.safetensors",
    ),
    Case("predict", ("run", "photos"), ("--device", "cpu"), output="found.json"),
    Case(
        "predict",
        ("sam",),
        ("--prompts-from", "masks.json", "--image-root", "photos", "--device", "cpu"),
        output="clicked.json",
    ),
    Case(
        "finetune-sam",
        ("masks.json",),
        ("--images", "photos", "--checkpoint", "sam", *_TINY, "--clicks", "3"),
        output="tuned",
        weights="model.safetensors",
    ),
)


HALVED = ("features.h5", "masks.json")
"""Outputs that are also made in two halves, for ``merge``."""


def undisturbed(work: Path) -> list[Case]:
    """Make a workplace with all inputs, and learn what every command gives."""
    (work / "photos").mkdir(parents=True)
    for i in range(IMAGES):
        Image.fromarray(draw_scene(i)).save(work / "photos" / f"{i}.png")
    make_sam().save_pretrained(work / "sam")
    cases = []
    for case in CASES:
        begin = time.perf_counter()
        output = work / case.output
        _run(case.line(work, output))
        seconds = time.perf_counter() - begin
        expected = case.result(output)
        assert expected is not None
        for k in range(2 if case.output in HALVED else 0):
            half = case.line(work, work / f"{k}.{case.output}")
            _run([*half, "--shard", f"{k}/2"])
        cases.append(replace(case, expected=expected, seconds=seconds))
    return cases


def copy_inputs(work: Path, case: Case, target: Path) -> Path:
    """Copy what a command reads, so that it can be damaged."""
    target.mkdir()
    for name in [*case.inputs, *(o for o in case.options if (work / o).exists())]:
        if (work / name).is_dir():
            shutil.copytree(work / name, target / name)
        else:
            shutil.copy(work / name, target / name)
    return target


def _run(line: list[str]) -> None:
    subprocess.run(line, check=True, capture_output=True, timeout=600)
