"""docs/reproduce: the paper as a Makefile."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
import warm

from unsam_cli.cli import cli

FOLDER = Path(__file__).parent.parent / "docs" / "reproduce"
METHOD = [
    "convert", "extract-features", "divide", "extract-features", "conquer", "refine", "merge",
    "filter", "train", "predict", "merge", "train",
]  # fmt: skip

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


COLD = f"{sys.executable} -m unsam_cli"


def make(
    *arguments: str, timeout: float = 60, python: str = sys.executable, unsam: str = COLD
) -> subprocess.CompletedProcess[str]:
    """Run the Makefile with an interpreter and an ``unsam``."""
    variables = [f"PYTHON={python}", f"CLI={unsam}"]
    return subprocess.run(
        ["make", *arguments, *variables],
        cwd=FOLDER,
        env=os.environ | {"PYTHONPATH": str(FOLDER.parent.parent)},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def commands(*arguments: str) -> list[list[str]]:
    """Return the ``unsam`` commands that would run."""
    ran = make("-n", *arguments)
    assert ran.returncode == 0, ran.stderr
    lines = re.findall(r"-m unsam_cli ([^;\n]*)", ran.stdout)
    return [shlex.split(line) for line in lines]


@pytest.mark.parametrize("scale", ["tiny", "paper"])
def test_every_command_is_one_of_ours(scale: str, tmp_path: Path) -> None:
    found = commands(f"SCALE={scale}", f"OUT={tmp_path}", "SHARDS=2", "ROUNDS=2")
    assert {words[0] for words in found} >= {*METHOD, "finetune-sam", "evaluate", "view"} - {
        "convert"
    }
    for name, *words in found:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        command.make_parser(click.Context(command)).parse_args(words)  # raises


def test_it_reads_like_the_method(tmp_path: Path) -> None:
    found = commands("SCALE=paper", f"OUT={tmp_path}", f"{tmp_path}/models/unsam-4.1/trained")
    assert [words[0] for words in found] == METHOD


def test_masks_can_stay_as_conquer_left_them(tmp_path: Path) -> None:
    goal = f"{tmp_path}/pseudo-masks.json"
    found = commands(f"OUT={tmp_path}", "REFINE=none", goal)
    assert "refine" not in [words[0] for words in found]
    found = commands(f"OUT={tmp_path}", "REFINE=crf", goal)
    [crf] = [words for words in found if words[0] == "refine"]
    assert crf[crf.index("--method") + 1] == "crf"


def test_a_round_starts_from_the_round_before_and_keeps_its_masks(tmp_path: Path) -> None:
    found = commands(f"OUT={tmp_path}", "ROUNDS=3", f"{tmp_path}/models/unsam-2.3/trained")
    starts = [words[words.index("--init") + 1] for words in found if "--init" in words]
    assert starts == [f"{tmp_path}/models/unsam-2.{n}" for n in range(3)]
    unions = [words for words in found if words[:2] == ["merge", "--union"]]
    assert unions[0][2:4] == [f"{tmp_path}/found-2.1.json", f"{tmp_path}/subset-2.json"]


def test_published_checkpoints_replace_training(tmp_path: Path) -> None:
    rows = ["UNSAM=a.pth", "UNSAM_PLUS=b.pth", "PROMPTABLE=c.pth", "PROMPTABLE_PLUS=d.pth"]
    clicked = "CLICKED=sam promptable-published promptable-plus-published"
    found = commands("SCALE=paper", f"OUT={tmp_path}", *rows, clicked)
    assert not [words for words in found if words[0] in ("train", "finetune-sam")]
    predicted = {words[1] for words in found if words[0] == "predict"}
    assert predicted == {"facebook/sam-vit-base", "a.pth", "b.pth", "c.pth", "d.pth"}
    found = commands("SCALE=paper", f"OUT={tmp_path}", *rows)
    assert [words[0] for words in found].count("finetune-sam") == 2


Metrics = dict[str, float | None]


def tables(tmp_path: Path, *arguments: str, **reports: list[Metrics]) -> str:
    """Print the tables of reports, each with the metrics of its files."""
    paths = []
    for name, files in reports.items():
        path = tmp_path / f"{name.replace('_', '-')}.json"
        several = {"files": [{"metrics": one} for one in files]} if len(files) > 1 else {}
        path.write_text(json.dumps({"metrics": files[0], **several}))
        paths.append(str(path))
    words = [sys.executable, str(FOLDER / "tables.py"), *paths, *arguments]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def rows_of(text: str, title: str) -> list[list[str]]:
    """Return the cells of a table, without its head."""
    [part] = [part for part in text.split("\n## ") if part.startswith(title)]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]


def test_our_figures_stand_beside_the_published_ones(tmp_path: Path) -> None:
    sizes: Metrics = {f"AR@1000-{size}": 0.3 for size in ("small", "medium", "large")}
    ours: Metrics = {"AP": 0.4, "AR@1000": 0.5, **sizes}
    sets = ["coco", "lvis", "ade20k", "entityseg", "sa1b", "partimagenet", "paco"]
    reports = {name: [ours, {**ours, "AR@1000": None}] for name in sets}
    rows = ["--whole", "sam-semantic unsam-8", "--clicked", "promptable", "--refined", "none crf"]
    clicks: list[Metrics] = [{"1-IoU-max": 0.503, "1-IoU-oracle": 0.6}]
    text = tables(
        tmp_path, *rows, **reports, pseudo_masks=[ours, ours], clicks_coco_panoptic=clicks
    )
    first = rows_of(text, "Table 1")
    at = first.index(["SAM, settings of Semantic-SAM", "ours", *["50.0"] * 8])
    assert first[at + 1] == ["", "published", "42.1", "49.6", "46.1", "45.8", "45.9", "60.8",
                             "28.3", "18.1"]  # fmt: skip
    assert first[at + 2] == ["", "difference", "+7.9", "+0.4", "+3.9", "+4.2", "+4.1", "-10.8",
                             "+21.7", "+31.9"]  # fmt: skip
    assert first[at + 3] == ["UnSAM, every 8th image", "ours", *["-"] * 8]
    assert ["SOHES, 0.2 M images", "published", "30.1", "30.5"] in [row[:4] for row in first]
    third = rows_of(text, "Table 3")
    at = third.index(["ours, CRF", "ours", "50.0", "30.0", "30.0", "30.0"])
    assert third[at + 2] == ["", "difference", "+34.7", "+27.7", "+18.1", "+2.3"]
    assert rows_of(text, "Table 4")[-2][2:] == ["+1.1", "-10.8", "+10.0", "-29.9", "-52.8"]
    fifth = rows_of(text, "Table 5")
    assert fifth[-1] == ["", "difference", "+10.0", "+0.5"]


def test_a_mean_over_some_of_the_sets_is_not_compared(tmp_path: Path) -> None:
    text = tables(tmp_path, "--whole", "sam-own", coco=[{"AR@1000": 0.5}])
    ours = [row for row in rows_of(text, "Table 2") if row[1] == "ours"]
    assert ours == [["SAM, its own settings", "ours", "-", "50.0", *["-"] * 6]]


FAKE_UNSAM = """#!/bin/sh
# Makes the outputs of a command; training makes a new folder.
echo "$*" >> {log}
command=$1
while [ $# -gt 0 ]; do
  case $1 in -o|--figure|--plot)
    case $command in
      train|finetune-sam) mkdir "$2" || exit 1 ;;
      *) : > "$2" || exit 1 ;;
    esac ;;
  esac
  shift
done
"""
FAKE_PYTHON = """#!/bin/sh
case "$1 $2" in
  *tiny.py\\ sam) : > "$3/config.json" ;;
  *tiny.py\\ set) : > "$4" ;;
  *one_click.py*) : > "$4" ;;
esac
"""


class Fakes:
    """Programs that only make files: what make runs, without the work."""

    def __init__(self, folder: Path) -> None:
        self._log, self.out = folder / "log", folder / "out"
        for name, text in (("unsam", FAKE_UNSAM), ("python", FAKE_PYTHON)):
            path = folder / name
            path.write_text(text.replace("{log}", str(self._log)))
            path.chmod(0o755)
        self._programs = [f"CLI={folder / 'unsam'}", f"PYTHON={folder / 'python'}"]

    def make(self, *arguments: str) -> list[list[str]]:
        """Run make, and return the commands that ran."""
        self._log.write_text("")
        words = ["make", "-f", str(FOLDER / "Makefile"), f"OUT={self.out}", *self._programs]
        ran = subprocess.run([*words, *arguments], capture_output=True, text=True, timeout=60)
        assert ran.returncode == 0, ran.stderr
        return [shlex.split(line) for line in self._log.read_text().splitlines()]


def test_after_a_change_make_computes_only_what_depends_on_it(tmp_path: Path) -> None:
    fakes = Fakes(tmp_path)
    small = ["SHARDS=2", "SUBSETS=2 1", "-j2"]
    first = fakes.make(*small)
    assert {words[0] for words in first} >= {*METHOD, "evaluate", "view"} - {"convert"}
    assert fakes.make(*small) == []
    (fakes.out / "union-2.1.json").unlink()
    again = fakes.make(*small)
    assert [words[0] for words in again][:2] == ["merge", "train"]
    assert not {words[0] for words in again} & {"divide", "conquer", "finetune-sam"}
    # A stage that was interrupted goes on; an output that is out of date is made again.
    for part in fakes.out.glob("train.*/features.h5"):
        part.unlink()
    later = fakes.make("pseudo-masks", *small)
    assert [words for words in later if words[0] == "extract-features" and "--resume" in words]
    assert not [words for words in later if words[0] == "divide" and "--resume" in words]
    retrained = fakes.make(*small, f"{fakes.out}/models/unsam-2.0/trained")
    assert [words[0] for words in retrained] == ["filter", "train"]


@pytest.mark.slow
@pytest.mark.torch
def test_all_of_it_on_three_photographs(tmp_path: Path) -> None:
    pytest.importorskip("skimage")
    small = ["TRAIN=--preset tiny --steps 4 --queries 20 --jobs 0"]
    small += ["FINETUNE=--preset tiny --steps 2 --clicks 4 --jobs 0", "SUBSETS=2"]
    small += ["WHOLE_FEATURES=--size 256", "REGION_FEATURES=--whole-image --region-size 128"]
    small += ["PHOTOS_sa1b=coffee.png chelsea.png"]
    variables = [f"OUT={tmp_path}", "SHARDS=2", *small]
    programs = {"python": warm.command("warm.script"), "unsam": warm.command()}
    figures = [tmp_path / "figures" / f"{name}.png" for name in ("sa1b", "clicks-coco-panoptic")]
    goals = ["FIGURES=png", "tables", *map(str, figures)]
    ran = make("-j2", *variables, *goals, timeout=900, **programs)
    assert ran.returncode == 0, ran.stderr
    text = (tmp_path / "tables.md").read_text()
    assert "SCALE=tiny" in text
    ours = {
        "Table 1": ["SAM, settings of Semantic-SAM", "SAM, its own settings",
                    "UnSAM, every 2nd image"],
        "Table 2": ["SAM, settings of Semantic-SAM", "SAM, its own settings",
                    "UnSAM, every 2nd image", "UnSAM+"],
        "Table 3": ["ours, not refined", "ours, guided filter"],
        "Table 4": ["SAM, settings of Semantic-SAM", "SAM, its own settings",
                    "UnSAM, every 2nd image", "UnSAM+"],
        "Table 5": ["SAM", "UnSAM, SAM trained here", "UnSAM+, SAM trained here"],
    }  # fmt: skip
    for title, labels in ours.items():
        assert [row[0] for row in rows_of(text, title) if row[1] == "ours"] == labels
    assert (tmp_path / "reports" / "coco.svg").stat().st_size > 1000
    assert all(figure.stat().st_size > 10_000 for figure in figures)
