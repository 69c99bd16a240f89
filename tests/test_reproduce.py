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
    "extract-features", "divide", "extract-features", "conquer", "refine", "merge",
    "train", "predict", "merge", "train",
]  # fmt: skip

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


COLD = f"{sys.executable} -m unsam_cli"


def make(
    *arguments: str, timeout: float = 60, unsam: str = COLD
) -> subprocess.CompletedProcess[str]:
    """Run the Makefile with this interpreter and an ``unsam``."""
    variables = [f"PYTHON={sys.executable}", f"UNSAM={unsam}"]
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
    assert {words[0] for words in found} >= {*METHOD, "finetune-sam", "evaluate"}
    for name, *words in found:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        command.make_parser(click.Context(command)).parse_args(words)  # raises


def test_it_reads_like_the_method(tmp_path: Path) -> None:
    found = commands("SCALE=paper", f"OUT={tmp_path}", f"{tmp_path}/unsam-1/trained")
    assert [words[0] for words in found] == METHOD


def test_masks_can_stay_as_conquer_left_them(tmp_path: Path) -> None:
    found = commands(f"OUT={tmp_path}", "REFINE=none", "tables")
    assert "refine" not in [words[0] for words in found]
    [crf] = [words for words in commands(f"OUT={tmp_path}", "REFINE=crf") if words[0] == "refine"]
    assert crf[crf.index("--method") + 1] == "crf"


def test_rounds_start_from_the_round_before(tmp_path: Path) -> None:
    found = commands(f"OUT={tmp_path}", "ROUNDS=3", f"{tmp_path}/unsam-3/trained")
    starts = [words[words.index("--init") + 1] for words in found if "--init" in words]
    assert starts == [f"{tmp_path}/unsam-{n}" for n in range(3)]


@pytest.mark.slow
@pytest.mark.torch
def test_all_of_it_on_five_photographs(tmp_path: Path) -> None:
    pytest.importorskip("skimage")
    small = ["TRAIN=--preset tiny --steps 4 --queries 20 --jobs 0"]
    small += ["FINETUNE=--preset tiny --steps 2 --clicks 4 --jobs 0"]
    small += ["WHOLE_FEATURES=--size 256", "REGION_FEATURES=--whole-image --region-size 128"]
    variables = [f"OUT={tmp_path}", "SHARDS=2", *small]
    unsam = warm.command()
    ran = make("-j2", *variables, timeout=900, unsam=unsam)
    assert ran.returncode == 0, ran.stderr
    text = (tmp_path / "tables.md").read_text()
    for row in [
        "conquered",
        "pseudo-masks",
        "unsam",
        "unsam-plus",
        "sam",
        "promptable",
        "promptable-plus",
    ]:
        assert re.search(rf"^\| {row} \| [\d.-]+ \|", text, re.MULTILINE), text
    assert (tmp_path / "reports" / "people.svg").stat().st_size > 1000
    assert make("-q", *variables).returncode == 0
    (tmp_path / "union-1.json").unlink()
    again = [words[0] for words in commands(*variables)]
    assert again[:2] == ["merge", "train"]
    assert "divide" not in again
    # Another picture and another option: everything after them is another, too.
    objects, masks = tmp_path / "objects.0.json", tmp_path / "pseudo-masks.json"
    before = objects.read_bytes(), masks.read_bytes()
    photos = tmp_path / "photos"
    shutil.copy(photos / "coffee.png", photos / "astronaut.png")
    for part in tmp_path.glob("features.*.h5"):
        part.unlink()
    ran = make("pseudo-masks", *variables, "DIVIDE=--max-masks 1", timeout=300, unsam=unsam)
    assert ran.returncode == 0, ran.stderr
    assert objects.read_bytes() != before[0]
    assert masks.read_bytes() != before[1]
    found = json.loads(masks.read_text())
    size = {image["file_name"]: image["height"] for image in found["images"]}
    assert size["astronaut.png"] == size["coffee.png"]
    assert commands(*variables, f"{tmp_path}/unsam-0/trained")[0][0] == "train"
    ran = make(*variables, f"{tmp_path}/unsam-0/trained", timeout=300, unsam=unsam)
    assert ran.returncode == 0, ran.stderr
