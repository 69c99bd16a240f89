"""unsam slurm-script: what it prints, and what it refuses to. tests/slurm runs it."""

from __future__ import annotations

import os
import re
import shlex
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
        (["view"], "choose one of extract-features, divide, conquer, predict, train, finetune-sam"),
        ([""], "unknown stage '';"),
        (["divide '"], "No closing quotation"),
        (["conquer", "divide"], "conquer, divide: give consecutive stages"),
        (["extract-features", "conquer", "conquer"], "give consecutive stages"),
        (["train x.json", "predict run"], "train, predict: give consecutive stages"),
        (["divide --tua 0.1"], "No such option"),
        (["divide --tau x"], "not a valid float"),
        (["divide --shard 0/2"], "remove shard, which the script sets"),
        (["divide f.h5"], "remove features, which the script sets"),
        (["train x.json --images y"], "remove images, which the script sets"),
        (["extract-features p"], "remove images, which the script sets"),
        (["divide --format results"], "remove format, which the script sets"),
        (["predict"], "Missing argument"),
        (["divide", "--nodes", "2"], "--nodes is for trainings"),
        (["divide", "--partition", "a b"], "cannot contain spaces"),
        (["divide", "--time", "1\n#SBATCH --x"], "without control characters"),
    ],
)
def test_refusals(invoke: Invoke, arguments: list[str], message: str) -> None:
    ran = invoke("slurm-script", *arguments, "--images", "photos", "-o", "out")
    assert ran.exit_code == 2
    assert ran.stdout == ""
    assert message in ran.stderr


@pytest.mark.parametrize(
    "stages",
    [
        ("extract-features --coco gt.json --image-root p", "divide", "conquer --images p"),
        ("predict run --prompts-from=gt.json --image-root p",),
    ],
)
def test_stages_may_say_themselves_which_images(invoke: Invoke, stages: tuple[str, ...]) -> None:
    text = script(invoke, *stages, images=None)
    assert "$images" not in text
    assert all(' --shard "$k/$shards"' in step for step in steps(text) if "image-root" in step)


@pytest.mark.parametrize("stage", ["extract-features", "conquer", "predict run", "train x.json"])
def test_images_are_needed(invoke: Invoke, stage: str) -> None:
    ran = invoke("slurm-script", stage, "-o", "out")
    assert ran.exit_code == 2
    assert "give --images" in ran.stderr


# The first image of shard 0 cannot be read; shard 1 is interrupted once.
_UNSAM = """#!/bin/bash
while [ "$1" != -o ]; do case $1 in divide) stage=divide ;; *.h5) source=$1 ;; esac; shift; done
if [ "$stage" = divide ]; then
  test -e "$source" || exit 66
  case $2 in *.1.*) if [ ! -e once ]; then touch once; exit 75; fi ;; esac
fi
touch "$2"
case $2 in *features.0.*) echo '{}' > "$2.errors.jsonl"; exit 3 ;; esac
"""


def test_what_an_earlier_turn_has_skipped_is_not_forgotten(invoke: Invoke, tmp_path: Path) -> None:
    text = script(invoke, "extract-features", "divide", "--shards", 2, "--tasks", 1)
    (tmp_path / "job.sh").write_text(text)
    stand_ins = {
        "unsam": _UNSAM,
        "srun": '#!/bin/bash\nshift; exec "$@"\n',
        "scontrol": "#!/bin/sh\n",
    }
    (tmp_path / "bin").mkdir()
    for name, content in {**stand_ins, "sleep": "#!/bin/sh\n"}.items():
        (tmp_path / "bin" / name).write_text(content)
        (tmp_path / "bin" / name).chmod(0o755)
    places = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "TMPDIR": str(tmp_path / "tmp")}
    numbers = {"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "1"}
    (tmp_path / "tmp").mkdir()

    def turn() -> int:
        environment = {**os.environ, **places, **numbers}
        return subprocess.run(["bash", "job.sh"], cwd=tmp_path, env=environment).returncode

    assert [turn(), turn(), turn()] == [75, 3, 3]
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made == {"objects.0.json", "objects.1.json", "features.0.h5.errors.jsonl"}
    assert not list((tmp_path / "tmp").iterdir())


@pytest.mark.parametrize(
    "hostile", ["x\ntouch Y\n#", "x\rtouch Y", "x\x1b[2J", "x\udcff", "x\u2028y"]
)
@pytest.mark.parametrize(
    "option", ["--images", "-o", "--mem", "--time", "--partition", "--container", "stage"]
)
def test_text_cannot_bring_a_command_of_its_own(option: str, hostile: str, invoke: Invoke) -> None:
    given = {"--images": "photos", "-o": "out", "stage": "'resnet'"}
    given[option] = f"'{hostile}'" if option == "stage" else hostile
    stage = f"extract-features --backbone {given.pop('stage')}"
    ran = invoke("slurm-script", stage, *(word for pair in given.items() for word in pair))
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert "Traceback" not in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


@pytest.mark.parametrize("text", ["$(touch Y)", "`touch Y`", "a b", "it's", "#SBATCH --x", "%j;&|"])
def test_text_is_quoted_for_the_shell(text: str, invoke: Invoke) -> None:
    ran = invoke("slurm-script", "divide", "-o", text, "--container", text)
    assert ran.exit_code == 0, ran.stderr
    assert f"out={shlex.quote(text)}\n" in ran.stdout
    assert f"{shlex.quote(text)} unsam" in ran.stdout
    checked = subprocess.run(["bash", "-n"], input=ran.stdout.encode(), check=False)
    assert checked.returncode == 0
