from __future__ import annotations

import json
import shlex
import shutil
import socket
from pathlib import Path

import click
import pytest
import torch
import warm
from prompted_scenes import write_nested
from sam_models import make_sam
from support import Invoke
from transformers import SamModel

from unsam_cli.cli import cli
from unsam_cli.sam.loading import load_promptable
from unsam_cli.training.prompted.settings import PRESETS, PromptSettings, TuneSettings

pytestmark = pytest.mark.torch

# Hardly any work.
SMALL = [
    *("--preset", "tiny", "--clicks", "4", "--points", "32", "--jobs", "0", "--device", "cpu"),
    *("--log-every", "1"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures with masks, two of them with a ground truth, and a SAM."""
    folder = tmp_path_factory.mktemp("data")
    masks = write_nested(folder, range(3), side=96)
    content = json.loads(masks.read_text())
    # The ground truth has the left one of each picture's two things, without its parts.
    truth = [a for a in content["annotations"] if a["id"] % 10 == 0 and a["image_id"] < 3]
    (folder / "truth.json").write_text(json.dumps(content | {"annotations": truth}))
    make_sam().save_pretrained(folder / "sam")
    return folder


def arguments(data: Path) -> list[object]:
    masks = data / "masks.json"
    return ["finetune-sam", masks, "--images", data / "images", "--checkpoint", data / "sam"]


def records(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_without_new_parts_it_is_a_sam_of_transformers(
    data: Path, tmp_path: Path, invoke: Invoke
) -> None:
    run = tmp_path / "run"
    kinds = ["--boxes", 0.3, "--corrections", 2, "--mask-loss", "focal", "--train", "lora"]
    validation = ["--validate", data / "masks.json", "--validate-every", 1]
    ran = invoke(*arguments(data), "-o", run, *SMALL, "--steps", 2, *kinds, *validation)
    assert (ran.exit_code, ran.stdout) == (0, ""), ran.stderr
    assert "validation: oracle" in ran.stderr
    trained, before = SamModel.from_pretrained(run), SamModel.from_pretrained(data / "sam")
    assert {"mask", "dice", "iou", "loss"} <= records(run)[0].keys()
    state, old = trained.state_dict(), before.state_dict()
    assert state.keys() == old.keys()  # adapters are merged
    moved = {name for name in state if not torch.equal(state[name], old[name])}
    assert moved
    assert all("attn" in name or "attention" in name for name in moved)
    step = load_promptable(str(run)).history[-1]
    assert step["command"].startswith("unsam finetune-sam ")
    assert step["options"]["clicks"] == 4
    assert step["options"]["lr"] == PRESETS["tiny"]["lr"]
    assert set(step["inputs"]) == {"annotations-1", "validate", "weights"}


def test_with_new_parts_it_is_ours_and_goes_on(data: Path, tmp_path: Path, invoke: Invoke) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    parts = ["--masks-per-prompt", 6, "--granularity"]
    ran = invoke(*arguments(data), "-o", first, *SMALL, "--steps", 1, *parts)
    assert ran.exit_code == 0, ran.stderr
    config = load_promptable(str(first)).config
    assert (config.masks_per_prompt, config.granularity) == (6, True)
    again = [*arguments(data)[:-1], first, "-o", second, *SMALL, "--steps", 1]
    ran = invoke(*again, *parts)
    assert ran.exit_code == 0, ran.stderr
    assert len(load_promptable(str(second)).history) == 2
    ran = invoke(*again, "--resume", *parts, "--clicks", 5)
    assert ran.exit_code == 2
    assert "cannot resume" in ran.stderr
    ran = invoke(*[*again[:-6], "-o", tmp_path / "third", *SMALL, "--steps", 1])
    assert ran.exit_code == 2
    assert "6 masks per prompt" in ran.stderr


def test_features_are_kept_and_training_is_the_same(
    data: Path, tmp_path: Path, invoke: Invoke
) -> None:
    features = tmp_path / "features.h5"
    sam = ["--backbone", "sam", "--weights", data / "sam"]
    kept = ["--storage-dtype", "float32", "-o", features]
    ran = invoke("extract-features", data / "images", *sam, *kept)
    assert ran.exit_code == 0, ran.stderr
    options = [*SMALL, "--steps", 4, "--flip", 0]
    workers = ["--features", features, "--jobs", 2]
    for name, more in (("a", []), ("b", ["--features", features]), ("c", workers)):
        ran = invoke(*arguments(data), "-o", tmp_path / name, *options, *more)
        assert ran.exit_code == 0, ran.stderr
    assert records(tmp_path / "a") == records(tmp_path / "b") == records(tmp_path / "c")
    inputs = load_promptable(str(tmp_path / "b")).history[-1]["inputs"]
    assert inputs["features"].endswith(" float32")
    # The decoder has learnt, and the encoder is the one that was.
    again = [*arguments(data)[:-1], tmp_path / "b", "-o", tmp_path / "e", *SMALL, "--steps", 1]
    ran = invoke(*again, "--features", features)
    assert ran.exit_code == 0, ran.stderr
    ran = invoke("conquer", features, "-o", tmp_path / "masks.json")
    assert ran.exit_code == 65
    assert "features for unsam finetune-sam" in ran.stderr
    ran = invoke(
        *arguments(data), "-o", tmp_path / "d", *SMALL, "--features", features, "--train", "all"
    )
    assert ran.exit_code == 2
    assert "frozen image encoder" in ran.stderr


def test_masks_of_a_ground_truth_are_learnt_too(data: Path, tmp_path: Path, invoke: Invoke) -> None:
    truth = ["--ground-truth", data / "truth.json"]
    ran = invoke(*arguments(data), *truth, "-o", tmp_path / "run", *SMALL, "--steps", 1)
    assert ran.exit_code == 0, ran.stderr
    # Of six masks an image, three lie in the ground truth's one, where there is one.
    assert "union: 2 masks of truth.json, 12 of 18 masks of masks.json" in ran.stderr
    history = load_promptable(str(tmp_path / "run")).history
    assert set(history[-1]["inputs"]) == {"annotations-1", "ground-truth", "weights"}
    two = ["finetune-sam", data / "masks.json", *arguments(data)[1:], *truth]
    ran = invoke(*two, "-o", tmp_path / "other", *SMALL)
    assert ran.exit_code == 2
    assert "unsam merge" in ran.stderr


@pytest.mark.parametrize(
    ("option", "needed"),
    [("--union-iou", "--ground-truth"), ("--lora-rank", "--train lora")],
)
def test_options_that_do_nothing_are_refused(
    option: str, needed: str, data: Path, tmp_path: Path, invoke: Invoke
) -> None:
    line = ["finetune-sam", data / "masks.json", "--images", data / "images", "--checkpoint", "no"]
    ran = invoke(*line, "--train", "all", option, 1, "-o", tmp_path / "run")
    assert ran.exit_code == 2
    assert f"{option} has no effect without {needed}" in ran.stderr


def test_damaged_images_stop_or_are_replaced(data: Path, tmp_path: Path, invoke: Invoke) -> None:
    images = tmp_path / "images"
    shutil.copytree(data / "images", images)
    (images / "1.png").write_bytes((images / "1.png").read_bytes()[:200])
    chosen = ["finetune-sam", data / "masks.json", "--images", images, "--steps", 3]
    chosen += ["--checkpoint", data / "sam", *SMALL]
    ran = invoke(*chosen, "-o", tmp_path / "stopped")
    assert ran.exit_code == 65
    assert "1.png" in ran.stderr
    ran = invoke(*chosen, "-o", tmp_path / "run", "--on-error", "skip")
    assert ran.exit_code == 3, ran.stderr
    listed = (tmp_path / "run.errors.jsonl").read_text().splitlines()
    assert [json.loads(line)["file_name"] for line in listed] == ["1.png"]


def test_a_bad_mask_costs_only_itself(data: Path, tmp_path: Path, invoke: Invoke) -> None:
    content = json.loads((data / "masks.json").read_text())
    content["annotations"][0]["segmentation"] = {"size": [96, 96], "counts": "zzz"}
    (tmp_path / "masks.json").write_text(json.dumps(content))
    chosen = ["finetune-sam", tmp_path / "masks.json", *arguments(data)[2:], *SMALL, "--steps", 3]
    assert invoke(*chosen, "-o", tmp_path / "stopped").exit_code == 65
    for name, more in (("run", []), ("union", ["--ground-truth", data / "truth.json"])):
        ran = invoke(*chosen, *more, "-o", tmp_path / name, "--on-error", "skip")
        assert ran.exit_code == 3, ran.stderr
        listed = json.loads((tmp_path / f"{name}.errors.jsonl").read_text())
        assert listed["annotation_id"] == content["annotations"][0]["id"]


@pytest.mark.slow
def test_two_processes_make_the_steps_of_one(data: Path, tmp_path: Path, invoke: Invoke) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    kinds = "--granularity --masks-per-prompt 4 --boxes 0.3 --corrections 1 --chunk 3 --train all"
    words = [*map(str, arguments(data)), *SMALL, "--steps", "2", "--clicks", "7", *kinds.split()]
    ran = invoke(*words, "-o", tmp_path / "one")
    assert ran.exit_code == 0, ran.stderr
    torchrun = ["--nproc-per-node", "2", "--master-port", str(port), "--no-python"]
    torchrun += shlex.split(warm.command())
    both = warm.Program(
        [*torchrun, *words, "-o", "two"], module="torch.distributed.run", cwd=tmp_path
    )
    _, errors = both.communicate(120)
    assert both.returncode == 0, errors.decode()
    for mine, its in zip(records(tmp_path / "one"), records(tmp_path / "two"), strict=True):
        assert mine == pytest.approx(its, rel=1e-4)


def test_defaults_of_options_are_those_of_the_library() -> None:
    context = click.Context(cli)
    command = cli.get_command(context, "finetune-sam")
    assert command is not None
    defaults = {p.name: p.get_default(context) or False for p in command.params}
    for settings in (PromptSettings(), TuneSettings()):
        for name, value in vars(settings).items():
            assert defaults[name] == value, name
    for preset in PRESETS.values():
        assert preset.keys() <= defaults.keys()
