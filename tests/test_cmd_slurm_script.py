"""unsam slurm-script: what it prints, and what it refuses to. tests/slurm runs it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import Invoke

ALL = ("extract-features", "divide", "conquer")
SHELLCHECK = shutil.which(
    "shellcheck", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
)


def script(invoke: Invoke, *arguments: object, images: str | None = "photos") -> str:
    given = ["--images", images] if images else []
    ran = invoke("slurm-script", *arguments, *given, "-o", "out")
    assert (ran.exit_code, ran.stderr) == (0, "")
    return ran.stdout


def steps(text: str) -> list[str]:
    return re.findall(r"^ *step (.*)$", text, re.MULTILINE)


def files(text: str) -> list[tuple[str, str]]:
    """Return folder and kind of every file that is read or written, in order."""
    return re.findall(r'"\$(out|scratch)/(\w+)\.\$k\.\w+"', "\n".join(steps(text)))


@pytest.mark.parametrize(
    "arguments",
    [
        ALL,
        (*ALL, "--gpus", 2, "--container", "my image.sif", "--tasks", 3, "--partition", "gpu"),
        ("divide",),
        ("conquer",),
        ("predict 'run of mine' --tile 512",),
        ("train a.json --preset tiny", "--nodes", 2, "--gpus", 4, "--container", "u.sif"),
    ],
)
def test_is_sound_bash(invoke: Invoke, arguments: tuple[object, ...], tmp_path: Path) -> None:
    path = tmp_path / "job.sh"
    path.write_text(script(invoke, *arguments, images="photos of '24; rm *"))
    check = [SHELLCHECK] if SHELLCHECK else ["bash", "-n"]
    ran = subprocess.run([*check, path], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_features_between_stages_stay_on_the_node(invoke: Invoke) -> None:
    assert files(script(invoke, *ALL)) == [
        ("scratch", "features"),
        ("scratch", "features"),
        ("out", "objects"),
        ("out", "objects"),
        ("scratch", "regions"),
        ("scratch", "regions"),
        ("out", "masks"),
    ]


def test_scripts_of_single_stages_fit_together(invoke: Invoke) -> None:
    assert files(script(invoke, "extract-features")) == [("out", "features")]
    assert files(script(invoke, "divide", images=None)) == [("out", "features"), ("out", "objects")]
    assert files(script(invoke, "conquer")) == files(script(invoke, *ALL))[3:]
    both = files(script(invoke, "divide", "extract-features"))
    assert both == [("out", "features"), ("out", "objects"), ("out", "objects"), ("out", "regions")]


def test_options_of_stages(invoke: Invoke) -> None:
    text = script(invoke, "extract-features --size 96", "divide --tau 0.2", "conquer")
    commands = [step.split('"')[0] for step in steps(text)]
    assert commands == [
        "extract-features --size 96 ",
        "divide --tau 0.2 ",
        "extract-features --size 96 ",
        "conquer ",
    ]
    other = script(invoke, "extract-features --size 96", "divide", "extract-features", "conquer")
    assert steps(other)[2].startswith('extract-features "$images"')


def test_resources_are_asked_for(invoke: Invoke) -> None:
    asked = ["--time=1-0", "--mem=32G", "--cpus=8", "--gpus=1", "--partition=long"]
    asked += ["--shards=10", "--tasks=20"]
    directives = re.findall(r"^#SBATCH (.*)$", script(invoke, "conquer", *asked), re.MULTILINE)
    assert directives == [
        "--job-name=unsam",
        "--array=0-9",
        "--time=1-0",
        "--cpus-per-task=8",
        "--mem=32G",
        "--gpus-per-node=1",
        "--partition=long",
        "--requeue",
        "--open-mode=append",
        "--signal=USR1@120",
    ]


def test_a_training_has_a_process_for_each_gpu(invoke: Invoke) -> None:
    text = script(invoke, "train a.json b.json --preset paper", "--gpus", 8, "--nodes", 2)
    assert "#SBATCH --nodes=2\n#SBATCH --ntasks-per-node=8\n" in text
    assert "--array" not in text
    assert steps(text) == ['train a.json b.json --preset paper --images "$images" -o "$out"']
    assert 'scontrol requeue "$SLURM_JOB_ID"' in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["view"], "none of extract-features, divide, conquer, predict, train, finetune-sam"),
        ([""], "stage '' is none of"),
        (["divide '"], "No closing quotation"),
        (["conquer", "divide"], "conquer, divide: one job does"),
        (["extract-features", "conquer", "conquer"], "one job does"),
        (["train x.json", "predict run"], "train, predict: one job does"),
        (["divide --tua 0.1"], "No such option"),
        (["divide --tau x"], "not a valid float"),
        (["divide --shard 0/2"], "leave shard to the script"),
        (["divide f.h5"], "leave features to the script"),
        (["train x.json --images y"], "leave images to the script"),
        (["predict"], "Missing argument"),
        (["divide", "--nodes", "2"], "--nodes is for a training"),
        (["divide", "--partition", "a b"], "no spaces"),
        (["divide", "--time", "1\n#SBATCH --x"], "no spaces"),
    ],
)
def test_refusals(invoke: Invoke, arguments: list[str], message: str) -> None:
    ran = invoke("slurm-script", *arguments, "--images", "photos", "-o", "out")
    assert ran.exit_code == 2
    assert ran.stdout == ""
    assert message in ran.stderr


@pytest.mark.parametrize("stage", ["extract-features", "conquer", "predict run", "train x.json"])
def test_images_are_needed(invoke: Invoke, stage: str) -> None:
    ran = invoke("slurm-script", stage, "-o", "out")
    assert ran.exit_code == 2
    assert "give --images" in ran.stderr
