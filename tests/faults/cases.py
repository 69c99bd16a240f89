"""Commands that are put to the test, on small images, and what each gives undisturbed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from detectron2_reference import make_state
from PIL import Image
from sam_models import make_sam
from support import draw_scene

IMAGES = 6
PROGRAM = (sys.executable, "-m", "unsam_cli")


@dataclass(frozen=True)
class Case:
    """A command: ``unsam NAME INPUTS OPTIONS -o OUTPUT``, and further outputs.

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
        Of a training: the file in its folder that counts.
    flag : str
        The option that names the output.
    beside : tuple of (str, str)
        Options that name further outputs, and their names.
    timed : bool
        Whether it takes part in the faults that come at random moments, which take long.
    """

    name: str
    inputs: tuple[str, ...]
    options: tuple[str, ...] = ()
    output: str = "out.json"
    expected: bytes = b""
    seconds: float = 0.0
    resumes: bool = True
    weights: str = ""
    flag: str = "-o"
    beside: tuple[tuple[str, str], ...] = ()
    timed: bool = True

    def result(self, output: Path) -> bytes | None:
        """Return what is under the final name, of all files of a folder; None while nothing is."""
        path = output / self.weights if self.weights else output
        if not path.is_dir():
            return path.read_bytes() if path.exists() else None
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return b"".join(b"%s\n%s\n" % (bytes(f.relative_to(path)), f.read_bytes()) for f in files)

    def words(self, work: Path, output: Path | str, *, again: bool = False) -> list[str]:
        """Return the words after ``unsam``; further outputs lie beside `output`."""
        options = [
            str(work / value) if (work / value).exists() else value for value in self.options
        ]
        inputs = [str(work / name) for name in self.inputs]
        resume = ["--resume"] if again and self.resumes else []
        outputs = [self.flag, str(output)]
        for option, name in self.beside:
            outputs += [option, str(Path(output).with_name(name))]
        return [*self.name.split(), *inputs, *options, *resume, *outputs]


_SMALL = (
    *("--extract-features.size", "64", "--extract-features.region-size", "32"),
    *("--divide.max-masks", "1", "--conquer.max-masks", "5"),
)
_TINY = (
    *("--preset", "tiny", "--steps", "6", "--checkpoint-every", "2"),
    *("--max-masks", "5", "--jobs", "1", "--device", "cpu"),
)
CASES = (
    Case("extract-features", ("photos",), ("--size", "128"), output="features.h5"),
    Case("divide", ("features.h5",), output="objects.json"),
    Case(
        "extract-features",
        ("photos",),
        ("--regions", "objects.json", "--whole-image", "--size", "128", "--region-size", "64"),
        output="regions.h5",
    ),
    Case("conquer", ("regions.h5",), ("--max-masks", "40"), output="masks.json"),
    Case("refine", ("masks.json",), ("--images", "photos", "--method", "crf"), output="crf.json"),
    Case("filter", ("masks.json",), ("--nms-iou", "0.5"), output="filtered.json", timed=False),
    Case("convert", ("masks.json",), ("--to", "polygons"), output="polygons.json"),
    Case("merge", ("0.features.h5", "1.features.h5"), output="merged.h5", resumes=False),
    Case("merge", ("0.masks.json", "1.masks.json"), output="merged.json", resumes=False),
    Case("evaluate", ("masks.json", "merged.json"), output="report.json"),
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
        ("tiny-sam",),
        ("--prompts-from", "masks.json", "--image-root", "photos", "--device", "cpu"),
        output="clicked.json",
    ),
    Case(
        "finetune-sam",
        ("masks.json",),
        ("--images", "photos", "--checkpoint", "tiny-sam", *_TINY, "--clicks", "3"),
        output="tuned",
        weights="model.safetensors",
    ),
    *(
        replace(case, timed=False)
        for case in (
            Case(
                "extract-features",
                ("photos",),
                ("--backbone", "sam", "--weights", "tiny-sam", "--device", "cpu"),
                output="embeddings.h5",
            ),
            Case(
                "extract-features",
                (),
                ("--coco", "masks.json", "--image-root", "photos", "--size", "96"),
                output="listed.h5",
            ),
            Case(
                "divide", ("features.h5",), ("--detections", "masks.json"), output="detected.json"
            ),
            Case(
                "conquer",
                ("regions.h5",),
                ("--images", "photos", "--max-masks", "5"),
                output="refined.json",
            ),
            Case("refine", ("masks.json",), ("--images", "photos"), output="guided.json"),
            Case("run", ("photos",), ("--no-report", *_SMALL), output="in-one-go"),
            Case("convert", ("masks.json",), ("--to", "results"), output="results.json"),
            Case("convert", ("masks.json",), ("--to", "sa1b"), output="as-sa1b"),
            Case("convert", ("masks.json",), ("--to", "labelmap"), output="as-labels"),
            Case("convert", ("masks.json",), ("--to", "yolo"), output="as-yolo"),
            Case(
                "convert",
                ("masks.json",),
                ("--to", "tsv", "--images", "photos"),
                output="as.tsv",
            ),
            Case("convert sa1b", ("as-sa1b",), output="from-sa1b.json"),
            Case("convert labelmap", ("as-labels",), output="from-labels.json"),
            Case("convert tsv", ("as.tsv",), output="from-tsv.json"),
            Case("convert checkpoint", ("unsam.pth",), output="unsam", resumes=False),
            Case("merge --union", ("masks.json", "found.json"), output="union.json", resumes=False),
            Case(
                "merge",
                ("0.report.json", "1.report.json"),
                output="merged-report.json",
                resumes=False,
            ),
            Case(
                "evaluate",
                ("masks.json", "merged.json"),
                output="plotted.json",
                beside=(("--per-image", "per-image.csv"), ("--plot", "plot.svg")),
            ),
            Case(
                "view",
                ("masks.json",),
                ("--images", "photos"),
                output="overlays",
                flag="--overlays",
                resumes=False,
            ),
            Case(
                "view",
                ("masks.json", "merged.json"),
                ("--images", "photos"),
                output="figure.png",
                flag="--figure",
                resumes=False,
            ),
            Case(
                "finetune-sam",
                ("masks.json",),
                (
                    "--images",
                    "photos",
                    "--checkpoint",
                    "tiny-sam",
                    "--features",
                    "embeddings.h5",
                    *_TINY,
                ),
                output="adapted",
                weights="model.safetensors",
            ),
        )
    ),
)
TIMED = tuple(case for case in CASES if case.timed)
WITHOUT_OUTPUT = {
    "completion": "prints a script of the shell",
    "doctor": "prints what the installation can do",
    "info": "prints what files are; tests/test_info.py damages them",
    "slurm-script": "prints a batch script",
}
"""Commands without a case, and why."""


HALVED = ("features.h5", "masks.json", "report.json")
"""Outputs that are also made in two halves, for ``merge``."""


def undisturbed(
    work: Path,
    cases: Sequence[Case] = TIMED,
    run: Callable[[list[str]], None] | None = None,
) -> list[Case]:
    """Make a workplace with all inputs, and learn what every command gives.

    `run` takes the words of a command line; without it, each is run as a program of its own.
    """
    (work / "photos").mkdir(parents=True)
    for i in range(IMAGES):
        Image.fromarray(draw_scene(i)).save(work / "photos" / f"{i}.png")
    make_sam().save_pretrained(work / "tiny-sam")
    torch.save({"model": make_state(queries=3)}, work / "unsam.pth")
    run = run or _run
    learnt = []
    for case in cases:
        begin = time.perf_counter()
        output = work / case.output
        run(case.words(work, output))
        seconds = time.perf_counter() - begin
        expected = case.result(output)
        assert expected is not None
        for k in range(2 if case.output in HALVED else 0):
            half = case.words(work, work / f"{k}.{case.output}")
            run([*half, "--shard", f"{k}/2"])
        learnt.append(replace(case, expected=expected, seconds=seconds))
    return learnt


def copy_inputs(work: Path, case: Case, target: Path) -> Path:
    """Copy what a command reads, so that it can be damaged."""
    target.mkdir()
    for name in [*case.inputs, *(o for o in case.options if (work / o).exists())]:
        if (work / name).is_dir():
            shutil.copytree(work / name, target / name)
        else:
            shutil.copy(work / name, target / name)
    return target


def _run(words: list[str]) -> None:
    subprocess.run([*PROGRAM, *words], check=True, capture_output=True, timeout=600)
