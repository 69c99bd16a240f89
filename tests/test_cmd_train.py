from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any
from unittest import mock

import click
import numpy as np
import pytest
import torch
from click.core import ParameterSource
from PIL import Image
from safetensors.torch import load_file
from support import Invoke, draw_scene
from torch.utils.checkpoint import checkpoint
from warm import Program

from unsam_cli.cli import cli
from unsam_cli.models import segmenter
from unsam_cli.models.settings import SegmenterConfig
from unsam_cli.rle import encode
from unsam_cli.training.presets import PRESETS
from unsam_cli.training.recipe import DataSettings, LossSettings, ParameterSettings
from unsam_cli.training.settings import TrainerSettings

pytestmark = pytest.mark.torch

# The smallest network there is, and hardly any work.
SMALL = [
    *("--preset", "tiny", "--architecture", "mask2former", "--backbone", "test_convnext"),
    *("--hidden", "32", "--pixel-layers", "1", "--decoder-layers", "1", "--queries", "6"),
    *("--crop", "64", "--short-side", "64", "--longest-side", "96", "--scale", "0"),
    *("--points", "64", "--batch-size", "2", "--dtype", "float32", "--jobs", "0"),
    *("--device", "cpu"),
]
CELLS = ["--preset", "tiny", "--hidden", "32", "--crop", "64", "--jobs", "0", "--device", "cpu"]


def objects(seed: int) -> list[Any]:
    pixels = draw_scene(seed).astype(int)
    red = (pixels[..., 0] > 120) & (pixels[..., 1] < 120)
    blue, yellow = pixels[..., 2] > 120, (pixels[..., 0] > 180) & (pixels[..., 1] > 180)
    return [red, blue | yellow, yellow]


def write_masks(folder: Path, name: str, seeds: range, *, empty: int = 0) -> Path:
    """Write scenes and the masks of their objects; the last `empty` images have no masks."""
    (folder / "images").mkdir(exist_ok=True)
    found: dict[str, list[Any]] = {"images": [], "annotations": []}
    for i, seed in enumerate(seeds, start=1):
        Image.fromarray(draw_scene(seed)).save(folder / "images" / f"{seed}.png")
        found["images"].append({"id": i, "file_name": f"{seed}.png", "height": 96, "width": 128})
        for mask in objects(seed) if i <= len(seeds) - empty else []:
            rle = encode(mask)
            counts = rle["counts"].decode()
            found["annotations"].append(
                {"id": len(found["annotations"]) + 1, "image_id": i, "category_id": 1}
                | {"segmentation": {"size": rle["size"], "counts": counts}}
                | {"area": int(mask.sum()), "bbox": [0, 0, 1, 1], "iscrowd": 0}
            )
    path = folder / name
    path.write_text(json.dumps(found | {"categories": [{"id": 1, "name": "entity"}]}))
    return path


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    return write_masks(tmp_path, "masks.json", range(3))


def records(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_run_is_a_model_folder(masks: Path, tmp_path: Path, invoke: Invoke) -> None:
    run, images = tmp_path / "run", tmp_path / "images"
    ran = invoke(
        "train",
        masks,
        "--images",
        images,
        "-o",
        run,
        *SMALL,
        "--steps",
        3,
        "--validate",
        masks,
        "--validate-every",
        2,
        "--log-every",
        1,
    )
    assert (ran.exit_code, ran.stdout) == (0, ""), ran.stderr
    assert "validation: AR@1000" in ran.stderr
    about = json.loads((run / "unsam.json").read_text())
    assert about["config"]["queries"] == 6
    step = about["history"][-1]
    assert step["options"]["backbone"] == "test_convnext"
    assert step["options"]["lr"] == PRESETS["tiny"]["lr"]
    assert set(step["inputs"]) == {"annotations-1", "validate-1", "weights"}
    assert [r["step"] for r in records(run)] == [1, 2, 2, 3, 3]
    assert {"loss", "class", "mask", "dice", "auxiliary"} <= records(run)[0].keys()
    from transformers import AutoModelForUniversalSegmentation

    opened = AutoModelForUniversalSegmentation.from_pretrained(run)
    assert opened.config.num_queries == 6


def test_a_round_starts_from_the_one_before(masks: Path, tmp_path: Path, invoke: Invoke) -> None:
    first, second, images = tmp_path / "first", tmp_path / "second", tmp_path / "images"
    ran = invoke("train", masks, "--images", images, "-o", first, *SMALL, "--steps", 1)
    assert ran.exit_code == 0, ran.stderr
    # A network of other options: those of the checkpoint count.
    options = [*SMALL, "--queries", 50, "--steps", 1, "--lr", 1e-12, "--init", first]
    ran = invoke("train", masks, "--images", images, "-o", second, *options)
    assert ran.exit_code == 0, ran.stderr
    history = json.loads((second / "unsam.json").read_text())["history"]
    assert [step["command"].split()[1] for step in history] == ["train", "train"]
    assert [step["options"]["queries"] for step in history] == [6, 6]
    before, after = (load_file(run / "model.safetensors") for run in (first, second))
    assert before.keys() == after.keys()
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("small", [SMALL, CELLS], ids=["queries", "cells"])
def test_resuming_gives_what_one_run_gives(
    small: list[str], masks: Path, tmp_path: Path, invoke: Invoke
) -> None:
    images, parts, whole = tmp_path / "images", tmp_path / "parts", tmp_path / "whole"
    options = ["--images", images, *small, "--steps", 4, "--log-every", 1]
    assert invoke("train", masks, "-o", whole, *options).exit_code == 0
    shortened = ["train", masks, "-o", parts, *options, "--checkpoint-every", 2]
    assert invoke(*shortened).exit_code == 0
    for last in (parts / "checkpoints").glob("step-00000004"):
        for file in last.iterdir():
            file.unlink()
        last.rmdir()
    ran = invoke(*shortened, "--resume")
    assert ran.exit_code == 0, ran.stderr
    assert records(parts) == records(whole)
    one, two = ((run / "model.safetensors").read_bytes() for run in (parts, whole))
    assert one == two
    ran = invoke(*shortened, "--resume", "--lr", 0.5)
    assert ran.exit_code == 2
    assert "cannot resume" in ran.stderr


@pytest.mark.parametrize("small", [SMALL, CELLS], ids=["queries", "cells"])
def test_samples_do_not_depend_on_workers(
    small: list[str], masks: Path, tmp_path: Path, invoke: Invoke
) -> None:
    options = ["--images", tmp_path / "images", *small, "--steps", 2, "--log-every", 1]
    options += ["--jitter", "0.5,1.5", "--copy-paste", 0.5]
    options += ["--drop-loss", 0.01] if small is SMALL else []
    for jobs in (0, 2):
        run = tmp_path / f"jobs-{jobs}"
        ran = invoke("train", masks, "-o", run, *options, "--jobs", jobs)
        assert ran.exit_code == 0, ran.stderr
    assert records(tmp_path / "jobs-0") == records(tmp_path / "jobs-2")


def weights_are_close(one: Path, two: Path) -> None:
    one_by_one, other = (load_file(run / "model.safetensors") for run in (one, two))
    for name, value in one_by_one.items():
        torch.testing.assert_close(other[name], value, rtol=1e-3, atol=1e-5)
    for mine, its in zip(records(one), records(two), strict=True):
        assert mine == pytest.approx(its, rel=1e-3)


def test_accumulated_parts_make_the_step_of_the_whole_batch(
    masks: Path, tmp_path: Path, invoke: Invoke
) -> None:
    options = ["--images", tmp_path / "images", *CELLS, "--steps", 2, "--log-every", 1]
    options += ["--batch-size", 4, "--dtype", "float32"]
    for parts in (1, 4):
        run = tmp_path / f"parts-{parts}"
        ran = invoke("train", masks, "-o", run, *options, "--accumulate", parts)
        assert ran.exit_code == 0, ran.stderr
    weights_are_close(tmp_path / "parts-1", tmp_path / "parts-4")


def test_two_processes_make_the_steps_of_one(masks: Path, tmp_path: Path, invoke: Invoke) -> None:
    options = ["--images", "images", *CELLS, "--steps", "2", "--log-every", "1"]
    options += ["--batch-size", "4", "--dtype", "float32"]
    one = [tmp_path / "images" if word == "images" else word for word in options]
    ran = invoke("train", masks, "-o", tmp_path / "one", *one)
    assert ran.exit_code == 0, ran.stderr
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    processes = []
    for rank in "01":
        with mock.patch.dict(os.environ, place | {"RANK": rank, "LOCAL_RANK": rank}):
            words = ["train", "masks.json", "-o", "two", *options]
            processes.append(Program(words, cwd=tmp_path))
    for process in processes:
        assert process.communicate(timeout=300)[0] == b""
        assert process.returncode == 0
    weights_are_close(tmp_path / "one", tmp_path / "two")


def test_a_value_that_is_no_number_names_step_and_images(
    masks: Path, tmp_path: Path, invoke: Invoke
) -> None:
    options = ["--images", tmp_path / "images", *CELLS, "--steps", 3, "--dtype", "float32"]
    ran = invoke("train", masks, "-o", tmp_path / "run", *options, "--lr", 1e30, "--clip", 0)
    assert ran.exit_code == 1, ran.stderr
    assert " is nan for " in ran.stderr or " is inf for " in ran.stderr
    assert "0.png" in ran.stderr or "1.png" in ran.stderr


NETWORKS = [
    SMALL,
    [*SMALL, "--architecture", "eomt", "--backbone", "test_vit"],
    [*CELLS, "--dtype", "float32"],
]


@pytest.mark.parametrize("network", NETWORKS, ids=["mask2former", "eomt", "condinst"])
def test_activations_that_are_not_kept_change_nothing(
    network: list[str], masks: Path, tmp_path: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--images", tmp_path / "images", *network, "--steps", 2]
    assert invoke("train", masks, "-o", tmp_path / "kept", *options).exit_code == 0
    spared = []

    def spied(*arguments: Any, **options: Any) -> Any:
        spared.append(arguments)
        return checkpoint(*arguments, **options)

    monkeypatch.setattr(segmenter, "checkpoint", spied)
    options += ["--checkpoint-activations"]
    assert invoke("train", masks, "-o", tmp_path / "spared", *options).exit_code == 0
    assert spared
    kept, other = (load_file(tmp_path / run / "model.safetensors") for run in ("kept", "spared"))
    assert all(torch.equal(other[name], value) for name, value in kept.items())


def test_images_without_masks_are_told(tmp_path: Path, invoke: Invoke) -> None:
    masks = write_masks(tmp_path, "masks.json", range(3), empty=1)
    options = ["--images", tmp_path / "images", *SMALL, "--steps", 1]
    ran = invoke("train", masks, "-o", tmp_path / "a", *options)
    assert ran.exit_code == 0, ran.stderr
    assert "images without masks: 1, left out" in ran.stderr
    ran = invoke("train", masks, "-o", tmp_path / "b", *options, "--empty-images", "background")
    assert "images without masks: 1, used as background" in ran.stderr


def test_bad_images_stop_or_are_replaced(masks: Path, tmp_path: Path, invoke: Invoke) -> None:
    images = tmp_path / "images"
    (images / "1.png").write_bytes(b"\x89PNG but damaged")
    options = ["train", masks, "--images", images, *SMALL, "--steps", 3]
    ran = invoke(*options, "-o", tmp_path / "stopped")
    assert ran.exit_code == 65
    assert "1.png" in ran.stderr
    run = tmp_path / "skipped"
    ran = invoke(*options, "-o", run, "--on-error", "skip")
    assert ran.exit_code == 3, ran.stderr
    listed = (tmp_path / "skipped.errors.jsonl").read_text()
    assert [json.loads(line)["file_name"] for line in listed.splitlines()] == ["1.png"]
    assert (run / "model.safetensors").exists()
    # Going on, it still says that images were skipped, and lists each once.
    ran = invoke(*options, "-o", run, "--on-error", "skip", "--resume")
    assert ran.exit_code == 3, ran.stderr
    assert (tmp_path / "skipped.errors.jsonl").read_text() == listed


def test_bad_masks_cost_only_themselves(masks: Path, tmp_path: Path, invoke: Invoke) -> None:
    data = json.loads(masks.read_text())
    first = data["annotations"][0]
    whole = [a for a in data["annotations"] if a["image_id"] == 3]
    for one in (first, *whole):
        one["segmentation"] = {"size": [96, 128], "counts": "zzz"}
    data["annotations"].append({**first, "id": 99, "segmentation": []})
    masks.write_text(json.dumps(data))
    options = ["train", masks, "--images", tmp_path / "images", *SMALL, "--steps", 3]
    assert invoke(*options, "-o", tmp_path / "stopped").exit_code == 65
    run = tmp_path / "run"
    options += ["-o", run, "--on-error", "skip"]
    ran = invoke(*options)
    assert ran.exit_code == 3, ran.stderr
    errors = (tmp_path / "run.errors.jsonl").read_text()
    listed = [json.loads(line) for line in errors.splitlines()]
    assert sorted((e["file_name"], e.get("annotation_id")) for e in listed) == [
        ("0.png", 1),
        ("0.png", 99),
        ("2.png", None),
    ]
    assert any("none of its annotations can be read" in e["error"] for e in listed)
    assert invoke(*options, "--resume").exit_code == 3
    assert (tmp_path / "run.errors.jsonl").read_text() == errors


def test_missing_images_are_named(masks: Path, tmp_path: Path, invoke: Invoke) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    ran = invoke("train", masks, "--images", empty, "-o", tmp_path / "run", *SMALL)
    assert ran.exit_code == 66
    assert "0.png: no such file" in ran.stderr


def test_steps_count_instead_of_epochs(masks: Path, tmp_path: Path, invoke: Invoke) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[train]\nepochs = 2\n")
    small = [word for word in SMALL if word not in ("--preset", "tiny")]
    options = ["--images", tmp_path / "images", *small, "--batch-size", 1, "--log-every", 1]
    options += ["--backbone-weights", "random", "--config", config]
    for name, more, steps in (("epochs", [], 6), ("steps", ["--steps", 2], 2)):
        ran = invoke("train", masks, "-o", tmp_path / name, *options, *more)
        assert ran.exit_code == 0, ran.stderr
        assert [r["step"] for r in records(tmp_path / name)] == list(range(1, steps + 1))


def parameters(*arguments: str) -> click.Context:
    command = cli.get_command(click.Context(cli), "train")
    assert command is not None
    words = ["x.json", "--images", ".", "-o", "run", *arguments]
    return command.make_context("train", words, auto_envvar_prefix="UNSAM_TRAIN")


def test_presets_are_defaults_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = parameters("--preset", "tiny")
    for name, value in PRESETS["tiny"].items():
        found = tiny.params[name]
        assert found == {"jitter": (0.5, 1.1)}.get(name, value), name
    given = parameters("--preset", "tiny", "--queries", "7")
    assert given.params["queries"] == 7
    assert given.get_parameter_source("queries") is ParameterSource.COMMANDLINE
    config = tmp_path / "config.toml"
    config.write_text('[train]\npreset = "tiny"\nqueries = 9\n')
    assert parameters("--config", str(config), "--preset", "tiny").params["queries"] == 9
    assert parameters("--preset", "tiny", "--config", str(config)).params["queries"] == 9
    monkeypatch.setenv("UNSAM_TRAIN_QUERIES", "11")
    assert parameters("--preset", "tiny").params["queries"] == 11


def test_the_preset_of_the_paper_is_that_of_the_paper() -> None:
    found = parameters("--preset", "paper").params
    published = {
        "architecture": "mask2former",
        "backbone": "resnet50",
        "queries": 2000,
        "decoder_layers": None,  # 9
        "crop": 1024,
        "jitter": None,
        "flip": 0.5,
        "copy_paste": 0.0,
        "max_masks": 500,
        "class_weight": 2,
        "mask_weight": 5,
        "dice_weight": 5,
        "no_object_weight": 0.1,
        "points": 12544,
        "drop_loss": None,
        "epochs": 8,  # of 0.4 million images: 200 000 steps
        "batch_size": 16,
        "lr": 5e-5,
        "schedule": "step",
        "clip": 0.01,
        "weight_decay": 0.05,
        "backbone_lr_scale": 0.1,
        "ema": 0,
        "short_side": 1024,
        "longest_side": 2048,
    }
    assert {name: found[name] for name in published} == published
    assert [round(drop * 200_000) for drop in found["drops"]] == [177_776, 192_592]


def test_every_option_is_a_setting_with_the_same_default() -> None:
    found = parameters("--preset", "paper").params
    for settings in (DataSettings(), LossSettings(), ParameterSettings(), TrainerSettings()):
        for name, value in vars(settings).items():
            if name in found and name not in ("epochs", "jobs", "validate_every"):
                assert found[name] == value, name
    for name, value in vars(SegmenterConfig()).items():
        assert found.get(name, value) == value, name


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_name_options(preset: str) -> None:
    command = cli.get_command(click.Context(cli), "train")
    assert command is not None
    assert PRESETS[preset].keys() <= {p.name for p in command.params}


def test_what_cannot_learn_is_told(masks: Path, tmp_path: Path, invoke: Invoke) -> None:
    options = ["train", masks, "--images", tmp_path / "images", "--steps", 1]
    frozen = [*SMALL, "--backbone", "test_resnet"]
    ran = invoke(*options, *frozen, "-o", tmp_path / "a")
    assert ran.exit_code == 2
    assert "batch normalisation" in ran.stderr
    ran = invoke(*options, *SMALL, "-o", tmp_path / "b")
    assert ran.exit_code == 0, ran.stderr
    assert "mask2former starts from random weights" in ran.stderr
    assert "6 queries for up to 200 masks" in ran.stderr
    ran = invoke(*options, *CELLS, "-o", tmp_path / "c")
    assert ran.exit_code == 0, ran.stderr
    assert "random weights" not in ran.stderr
    assert "queries" not in ran.stderr
    ran = invoke(*options, *CELLS, "--drop-loss", 0.1, "-o", tmp_path / "d")
    assert ran.exit_code == 2
    assert "--drop-loss has no effect without --architecture" in ran.stderr


def test_a_segmenter_learnt_from_scratch_goes_on(
    masks: Path, tmp_path: Path, invoke: Invoke
) -> None:
    first, second, images = tmp_path / "first", tmp_path / "second", tmp_path / "images"
    ran = invoke("train", masks, "--images", images, "-o", first, *CELLS, "--steps", 1)
    assert ran.exit_code == 0, ran.stderr
    about = json.loads((first / "unsam.json").read_text())
    assert about["config"]["architecture"] == "condinst"
    assert json.loads((first / "config.json").read_text())["model_type"] == "condinst"
    options = [*CELLS, "--steps", 1, "--lr", 1e-12, "--init", first]
    ran = invoke("train", masks, "--images", images, "-o", second, *options)
    assert ran.exit_code == 0, ran.stderr
    before, after = (load_file(run / "model.safetensors") for run in (first, second))
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=1e-4, atol=1e-6)
    for more in ([], ["--scale", 0.5], ["--tile", 64], ["--size", "64,96"]):
        ran = invoke("predict", second, images, *more, "-o", tmp_path / "found.json")
        assert ran.exit_code == 0, ran.stderr


def write_discs(folder: Path, name: str, seeds: range) -> Path:
    """Write pictures of some thirty discs each, of all greys, and their masks."""
    folder.mkdir(exist_ok=True)
    found: dict[str, list[Any]] = {"images": [], "annotations": []}
    y, x = np.mgrid[:128, :128]
    for seed in seeds:
        rng = np.random.default_rng(seed)
        pixels, free = rng.normal(90, 12, (128, 128)), np.ones((128, 128), bool)
        for _ in range(60):
            (cx, cy), radius = rng.uniform(4, 124, 2), rng.uniform(4, 12)
            apart = np.hypot(x - cx, y - cy)
            if not free[apart < radius + 2].all():
                continue
            disc = apart < radius
            free &= ~disc
            pixels[disc] += rng.choice([-1, 1]) * rng.uniform(40, 90)
            runs = encode(disc)
            rle = {"size": runs["size"], "counts": runs["counts"].decode()}
            number = {"id": len(found["annotations"]) + 1, "image_id": seed, "iscrowd": 0}
            found["annotations"].append(number | {"category_id": 1, "segmentation": rle})
        grey = pixels.clip(0, 255).astype(np.uint8)
        Image.fromarray(grey).convert("RGB").save(folder / f"{seed}.png")
        size = {"height": 128, "width": 128}
        found["images"].append({"id": seed, "file_name": f"{seed}.png"} | size)
    path = folder / name
    path.write_text(json.dumps(found | {"categories": [{"id": 1, "name": "entity"}]}))
    return path


def test_cells_learn_from_scratch_in_seconds(tmp_path: Path, invoke: Invoke) -> None:
    """Of pictures that were never seen."""
    masks = write_discs(tmp_path / "seen", "masks.json", range(1, 13))
    truth = write_discs(tmp_path / "unseen", "truth.json", range(101, 104))
    run, predicted, report = (tmp_path / name for name in ("run", "found.json", "report.json"))
    options = ["--steps", 60, "--batch-size", 4, "--warmup", 10, "--lr", 3e-3, "--crop", 128]
    ran = invoke("train", masks, "--images", tmp_path / "seen", "-o", run, *CELLS, *options)
    assert ran.exit_code == 0, ran.stderr
    ran = invoke("predict", run, "--coco", truth, "-o", predicted)
    assert ran.exit_code == 0, ran.stderr
    assert invoke("evaluate", truth, predicted, "-o", report).exit_code == 0
    found = json.loads(report.read_text())["metrics"]
    assert found["AR@100"] >= 0.7
    assert found["AP50"] >= 0.9
