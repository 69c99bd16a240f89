"""What learns, from what, and that it does not depend on how it is computed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from prompted_scenes import GRANULARITY, nested_scene, write_nested
from sam_models import SIDE, make_sam, make_sam2
from support import Invoke
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint
from toy_training import contents

from unsam_cli.errors import DataError, FeatureFileError, UsageError
from unsam_cli.rle import encode
from unsam_cli.run.provenance import Step
from unsam_cli.sam.embedding import Embedding
from unsam_cli.sam.lora import add_lora
from unsam_cli.sam.model import PromptableModel, Train, trainable
from unsam_cli.sam.settings import PromptableConfig
from unsam_cli.training.dataset import AnnotatedImages
from unsam_cli.training.prompted import task as prompted_task
from unsam_cli.training.prompted.embeddings import KeptEmbeddings
from unsam_cli.training.prompted.samples import PromptedSamples
from unsam_cli.training.prompted.settings import PromptSettings, TuneInputs, TuneSettings
from unsam_cli.training.prompted.stage import finetune_sam
from unsam_cli.training.prompted.task import PromptedTask
from unsam_cli.training.recipe import DataSettings, ParameterSettings
from unsam_cli.training.settings import TrainerSettings, TrainingRun

pytestmark = pytest.mark.torch

TOTALS = torch.tensor([10.0])
KINDS: dict[str, Any] = {"clicks": 8, "points": 64, "boxes": 0.3, "corrections": 2, "flip": 0.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nested")
    write_nested(folder, range(3), side=96)
    return folder


def make_task(
    data: Path,
    *,
    train: Train = "decoder",
    sam2: bool = False,
    features: Path | None = None,
    **settings: Any,
) -> PromptedTask:
    parts = PromptableConfig(4, granularity=True)
    model = PromptableModel(make_sam2() if sam2 else make_sam(), parts)
    if train == "lora":
        add_lora(model.network, rank=2, where="decoder")
    trainable(model, train)
    images = AnnotatedImages([data / "masks.json"], data / "images", DataSettings())
    asked = PromptSettings(**{**KINDS, **settings})
    kept = None if features is None else KeptEmbeddings(features, model)
    samples = PromptedSamples(images, model.side, sam2, parts, asked, kept)
    task = PromptedTask(model, samples, ParameterSettings())
    task.module.train()
    return task


def losses_of(task: PromptedTask, *picks: tuple[int, int]) -> torch.Tensor:
    batch = task.collate([task.sample(index, seed) for index, seed in picks])
    found = task.module(batch.to("cpu"), TOTALS)
    assert list(found) == ["mask", "dice", "iou"]
    return torch.stack(list(found.values()))


@pytest.mark.parametrize("sam2", [False, True])
@pytest.mark.parametrize("train", ["decoder", "lora", "all"])
def test_gradients_only_where_they_are_wanted(data: Path, train: Train, sam2: bool) -> None:
    task = make_task(data, train=train, sam2=sam2, clicks=12, corrections=1)
    losses_of(task, (0, 1), (1, 2)).sum().backward()  # type: ignore[no-untyped-call]
    moved = {n for n, p in task.model.named_parameters() if p.grad is not None and p.grad.any()}
    rooms = {".".join(name.split(".")[:2]) for name in moved}
    new = {"levels.tokens", "levels.hypernetworks", "granularity.prompt", "granularity.output"}
    assert new <= rooms
    expected = {"network.mask_decoder"} | new | {"levels.scores"}
    if train == "all":
        expected |= {"network.vision_encoder", "network.prompt_encoder"}
    assert rooms - {"network.no_memory_embedding"} == expected
    if train == "lora":
        assert all("parametrizations" in n for n in moved if n.startswith("network."))
        assert any(n.endswith(".up") for n in moved)
    if train == "decoder":
        assert not any("conv_s" in name for name in moved)
    grouped = {id(p) for group in task.parameter_groups() for p in group["params"]}
    learns = {id(p) for p in task.model.parameters() if p.requires_grad}
    assert grouped == learns


def test_losses_are_sums_over_images(data: Path) -> None:
    task = make_task(data)
    together = losses_of(task, (0, 1), (2, 5))
    alone = losses_of(task, (0, 1)) + losses_of(task, (2, 5))
    assert_close(together, alone, rtol=1e-6, atol=1e-6)
    batch = task.collate([task.sample(0, 1), task.sample(2, 5)])
    assert task.amounts(batch).tolist() == [sum(s.pairs for s in batch.samples)]
    again = losses_of(task, (0, 1), (2, 5))
    assert torch.equal(together, again)
    assert not torch.equal(together, losses_of(task, (0, 1), (2, 6)))


def test_computing_answers_again_saves_memory_and_changes_nothing(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, gradients = [], []

    def spy(function: Any, *arguments: Any, **options: Any) -> Any:
        calls.append(len(arguments[1]))
        return checkpoint(function, *arguments, **options)

    def direct(function: Any, *arguments: Any, **_: Any) -> Any:
        return function(*arguments)

    for replacement in (spy, direct):
        monkeypatch.setattr(prompted_task, "checkpoint", replacement)
        task = make_task(data, chunk=3)
        losses_of(task, (0, 1)).sum().backward()  # type: ignore[no-untyped-call]
        gradients.append([p.grad for p in task.model.parameters() if p.grad is not None])
    assert max(calls) == 3
    assert sum(calls) == 8
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("sam2", [False, True])
def test_the_encoder_is_not_run_where_its_features_are_known(
    data: Path, tmp_path: Path, invoke: Invoke, sam2: bool
) -> None:
    network, features = make_sam2() if sam2 else make_sam(), tmp_path / "features.h5"
    network.save_pretrained(tmp_path / "sam")
    extract = ["extract-features", data / "images", "--backbone", "sam", "--batch-size", 2]
    kept = ["--storage-dtype", "float32", "--weights", tmp_path / "sam", "-o", features]
    ran = invoke(*extract, *kept)
    assert ran.exit_code == 0, ran.stderr
    plain = losses_of(make_task(data, sam2=sam2), (0, 1), (1, 2))
    second = make_task(data, sam2=sam2, features=features)
    del second.model.network.vision_encoder  # not even there
    assert second.sample(0, 1).pixels is None
    assert torch.equal(losses_of(second, (0, 1), (1, 2)), plain)
    with pytest.raises(FeatureFileError, match="of a different encoder"):
        make_task(data, sam2=not sam2, features=features)


def test_features_of_something_else_are_refused(data: Path, tmp_path: Path, invoke: Invoke) -> None:
    features = tmp_path / "features.h5"
    make_sam().save_pretrained(tmp_path / "sam")
    sam = ["--backbone", "sam", "--weights", tmp_path / "sam"]
    ran = invoke("extract-features", data / "images" / "0.png", *sam, "-o", features)
    assert ran.exit_code == 0, ran.stderr
    task = make_task(data, features=features)
    assert task.sample(0, 0).embedding is not None
    with pytest.raises(FeatureFileError, match=r"no features of 1\.png; extract them"):
        task.sample(1, 0)
    write_nested(tmp_path, range(1), side=64)
    with pytest.raises(FeatureFileError, match=r"0\.png has 96 x 96 pixels, but 64"):
        make_task(tmp_path, features=features).sample(0, 0)
    for options in (["--size", 64], ["--project", 8], ["--facet", "token"], ["--square"]):
        ran = invoke("extract-features", data / "images", *sam, *options, "-o", features)
        assert (ran.exit_code, "no effect with --backbone sam" in ran.stderr) == (2, True), options
    ran = invoke("extract-features", data / "images", *sam[:2], "-o", features)
    assert (ran.exit_code, "as --weights" in ran.stderr) == (2, True)
    ran = invoke("extract-features", data / "images", "-o", features)
    assert ran.exit_code == 0, ran.stderr
    with pytest.raises(FeatureFileError, match="features of builtin, not of a promptable model"):
        make_task(data, features=features)


@pytest.mark.parametrize("make", [make_sam, make_sam2])
def test_a_grid_holds_all_that_the_encoder_sees(make: Callable[[], Any]) -> None:
    model = PromptableModel(make())
    with torch.inference_mode():
        seen = model.embed(torch.randn(2, 3, SIDE, SIDE))
    grid = seen.to_grid()
    side = SIDE // 16
    assert grid.shape[:3] == (2, side, side)
    back = Embedding.from_grid(grid, seen.image.shape[1])
    assert torch.equal(back.image, seen.image)
    assert len(back.high) == len(seen.high) == (2 if make is make_sam2 else 0)
    assert all(torch.equal(a, b) for a, b in zip(back.high, seen.high, strict=True))
    # What belongs to a place is in its cell.
    for features, factor in zip(seen.high, (4, 2), strict=False):
        cell = features[0, 0, 2 * factor : 3 * factor, 3 * factor : 4 * factor]
        assert torch.isin(cell, grid[0, 2, 3]).all()


def test_samples_are_in_the_network_s_input(tmp_path: Path) -> None:
    """A picture that is not square, mirrored or not: clicks, masks and pixels belong together."""
    picture, masks = nested_scene(0, 96)
    wide = np.concatenate([picture, np.zeros((96, 32, 3), np.uint8)], axis=1)
    path = write_nested(tmp_path, range(1), side=96)
    Image.fromarray(wide).save(tmp_path / "images" / "0.png")
    wider = [encode(np.pad(mask, ((0, 0), (0, 32)))) for mask in masks]
    content = json.loads(path.read_text())
    content["images"][0]["width"] = 128
    for annotation, rle in zip(content["annotations"], wider, strict=True):
        annotation["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode()}
    path.write_text(json.dumps(content))
    for flip in (0.0, 1.0):
        task = make_task(tmp_path, flip=flip, boxes=0.0)
        sample = task.sample(0, 3)
        assert sample.masks.size == (SIDE, SIDE)
        assert sample.pixels is not None
        assert not sample.pixels[:, 96:].any()  # padding, at a scale of 1
        seen = sample.masks.unpack().numpy()
        for mask, found in zip(masks, seen, strict=True):
            expected = np.pad(mask, ((0, 32), (0, 32)))
            assert np.array_equal(found, expected[:, ::-1] if flip else expected)
        # The parts of parts are yellow: red and green high, blue low.
        yellow = sample.pixels[:, torch.from_numpy(seen[2])]
        assert float(yellow[2].mean()) < float(yellow[:2].mean()) - 1


def test_granularity_is_as_annotated_or_that_of_the_hierarchy(tmp_path: Path) -> None:
    for graded in (True, False):
        write_nested(tmp_path, range(1), side=96, graded=graded)
        task = make_task(tmp_path, boxes=0.0, clicks=24)
        sample = task.sample(0, 0)
        (asked,) = (q for q in sample.questions if q.prompts.granularity is not None)
        assert asked.prompts.granularity is not None
        found = dict(zip(asked.clicked.tolist(), asked.prompts.granularity.tolist(), strict=True))
        said = [GRANULARITY[mask % 3] for mask in found]
        if graded:
            assert list(found.values()) == pytest.approx(said)
        else:  # the sides of the middle one are 0.66 of the whole's, but it is a disc
            assert list(found.values()) == pytest.approx(said, abs=0.2)
            assert list(found.values()) != pytest.approx(said)


def test_an_impossible_granularity_is_named(tmp_path: Path) -> None:
    path = write_nested(tmp_path, range(1), side=96)
    content = json.loads(path.read_text())
    content["annotations"][1]["granularity"] = 7
    path.write_text(json.dumps(content))
    number = content["annotations"][1]["id"]
    with pytest.raises(DataError, match=rf"annotation {number} \(image 1\): granularity is 7"):
        make_task(tmp_path).sample(0, 0)


def finetune(data: Path, run: Path, *, resume: bool = False, **trainer: Any) -> int:
    checkpoint = data / "sam"
    if not checkpoint.exists():
        make_sam().save_pretrained(checkpoint)
    return finetune_sam(
        TuneInputs([str(data / "masks.json")], data / "images", str(checkpoint)),
        TuneSettings(masks_per_prompt=4, granularity=True, train="lora", lora_rank=2),
        PromptSettings(**{**KINDS, "flip": 0.5}),
        ParameterSettings(),
        TrainerSettings(
            **{"steps": 4, "batch_size": 2, "lr": 1e-3, "device": "cpu", "log_every": 1, **trainer}
        ),
        TrainingRun(Step("finetune-sam", {}), run, resume),
    )


def test_resuming_gives_what_one_run_gives_bit_for_bit(data: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    settings: dict[str, Any] = {"checkpoint_every": 2, "ema": 0.5}
    assert finetune(data, whole, **settings) == 0
    assert finetune(data, parts, **settings) == 0
    shutil.rmtree(parts / "checkpoints" / "step-00000004")
    assert finetune(data, parts, resume=True, **settings) == 0
    assert contents(parts) == contents(whole)


def test_what_does_not_go_together(data: Path, tmp_path: Path) -> None:
    inputs = TuneInputs([str(data / "masks.json")], data / "images", "sam", features=tmp_path)
    run = TrainingRun(Step("finetune-sam", {}), tmp_path)
    arguments = (PromptSettings(), ParameterSettings(), TrainerSettings())
    for tune in (TuneSettings(train="all"), TuneSettings(train="lora")):
        with pytest.raises(UsageError, match="frozen image encoder"):
            finetune_sam(inputs, tune, *arguments, run)
