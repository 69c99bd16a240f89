"""Training on a GPU that is not there: the steps that the CPU makes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_gpu import DeviceError, fake_gpu
from prompted_scenes import write_nested
from sam_models import make_sam, make_sam2
from segmenter_models import make_segmenter

from unsam_cli.sam.embedding import Embedding
from unsam_cli.sam.lora import add_lora
from unsam_cli.sam.model import PromptableModel, trainable
from unsam_cli.sam.settings import PromptableConfig
from unsam_cli.training.checkpoint_files import Checkpoint, load_checkpoint
from unsam_cli.training.checkpoints import RunFolder
from unsam_cli.training.dataset import AnnotatedImages
from unsam_cli.training.distributed import Place, World
from unsam_cli.training.learner import Learner
from unsam_cli.training.loading import load_batches
from unsam_cli.training.prompted.losses import at_pixels
from unsam_cli.training.prompted.samples import PromptedSamples
from unsam_cli.training.prompted.settings import PromptSettings
from unsam_cli.training.prompted.task import PromptedTask
from unsam_cli.training.recipe import DataSettings, LossSettings, ParameterSettings, Recipe
from unsam_cli.training.settings import TrainerSettings
from unsam_cli.training.whole_image import WholeImageTask

pytestmark = pytest.mark.torch

TASKS = ["mask2former", "eomt", "sam", "sam2", "sam lora"]
EACH = pytest.mark.parametrize("kind", TASKS)


@pytest.fixture(scope="module")
def data(tmp_path_factory: Any) -> Path:
    folder: Path = tmp_path_factory.mktemp("nested")
    write_nested(folder, range(2), side=64)
    return folder


def make_task(kind: str, data: Path) -> Any:
    if kind.startswith("sam"):
        parts = PromptableConfig(4, granularity=True)
        model = PromptableModel(make_sam2() if kind == "sam2" else make_sam(), parts)
        if kind == "sam lora":
            add_lora(model.network, rank=2)
        trainable(model, "lora" if kind == "sam lora" else "all" if kind == "sam" else "decoder")
        asked = PromptSettings(clicks=2, points=32, boxes=0.3, corrections=1, flip=0.0, chunk=8)
        images = AnnotatedImages([data / "masks.json"], data / "images", DataSettings())
        samples = PromptedSamples(images, model.side, kind == "sam2", parts, asked)
        return PromptedTask(model, samples, ParameterSettings())
    segmenter = make_segmenter(kind, shallow=True)
    segmenter.checkpointing = True
    images = AnnotatedImages([data / "masks.json"], data / "images", DataSettings())
    recipe = Recipe(DataSettings(crop=64), LossSettings(points=32, drop_loss=0.01))
    return WholeImageTask(segmenter, images, recipe)


def train(
    kind: str,
    data: Path,
    device: str,
    steps: int = 2,
    after: Callable[[], None] = lambda: None,
    **settings: Any,
) -> Any:
    """Make steps of two batches each; return the learner and what it said.

    `after` is called after each step.
    """
    chosen = TrainerSettings(
        **{"steps": 4, "lr": 1e-3, "clip": 1.0, "ema": 0.9, "accumulate": 2, **settings}
    )
    task = make_task(kind, data)
    learner = Learner(task, chosen, World(Place(), device))
    said = []
    for step in range(steps):
        batches = [task.collate([task.sample(i, 10 * step + i)]) for i in range(2)]
        said.append(learner.update(step, batches))
        after()
    return learner, said


@functools.cache
def trained_on_the_cpu(kind: str, data: Path) -> Any:
    """Return the weights after two steps, and what the learner said."""
    learner, said = train(kind, data, "cpu")
    return learner.weights, said


@pytest.mark.parametrize(
    ("kind", "device"), [*((k, "cuda:1") for k in TASKS), ("eomt", "mps"), ("sam", "mps")]
)
def test_a_step_is_that_of_the_cpu(kind: str, data: Path, device: str) -> None:
    expected, wanted = trained_on_the_cpu(kind, data)
    with fake_gpu(device.partition(":")[0], native=False):
        learner, said = train(kind, data, device)
        for name, value in learner.module.state_dict().items():
            assert str(value.device) in (device, f"{device}:0"), name
        found = {name: value.cpu() for name, value in learner.weights.items()}
    for one, other in zip(said, wanted, strict=True):
        assert one == pytest.approx(other, rel=1e-3)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-2, atol=1e-4, msg=name)


@EACH
def test_a_step_under_autocast(kind: str, data: Path) -> None:
    _, wanted = trained_on_the_cpu(kind, data)
    with fake_gpu(native=False):
        _, said = train(kind, data, "cuda", steps=1, dtype="bfloat16")
    assert said[0]["loss"] == pytest.approx(wanted[0]["loss"], rel=0.3)


def test_the_device_is_waited_for_seldom(data: Path) -> None:
    """For the matching of every image, and once a step for the losses."""
    with fake_gpu(native=False) as gpu:
        waits: list[int] = []
        train("mask2former", data, "cuda", after=lambda: waits.append(gpu.waits))
    first, both = waits
    assert first <= 4
    assert both == 2 * first


def batch_of(kind: str, data: Path, *, pin: bool) -> Any:
    """Read a batch as the trainer does."""
    (batch,) = load_batches(make_task(kind, data), [[(0, 5), (1, 6)]], jobs=0, pin=pin)
    return batch


@pytest.mark.parametrize("kind", ["mask2former", "sam2"])
def test_batches_are_copied_from_page_locked_memory(
    kind: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fake_gpu(native=False) as gpu:
        monkeypatch.setattr("torch.accelerator.is_available", lambda: True)
        monkeypatch.setattr("torch.accelerator.current_accelerator", lambda: torch.device("cuda"))
        moved = batch_of(kind, data, pin=False).to("cuda")
        assert gpu.pageable
        gpu.pageable.clear()
        pinned = batch_of(kind, data, pin=True).to("cuda")
        assert gpu.pinned
        assert not gpu.pageable
        tensors, others = (tensors_of(batch) for batch in (pinned, moved))
        assert len(tensors) == len(others) > 0
        for one, other in zip(tensors, others, strict=True):
            torch.testing.assert_close(one.cpu(), other.cpu())


def test_embeddings_are_pinned_too() -> None:
    embedding = Embedding(torch.rand(1, 4, 2, 2), (torch.rand(1, 2, 4, 4),))
    with fake_gpu(native=False) as gpu:
        embedding.to("cuda")
        assert len(gpu.pageable) == 2
        found = embedding.pin_memory().to("cuda")
        assert len(gpu.pageable) == 2
        torch.testing.assert_close(found.image.cpu(), embedding.image)
        torch.testing.assert_close(found.high[0].cpu(), embedding.high[0])


def tensors_of(value: Any) -> list[torch.Tensor]:
    """Return all tensors in dataclasses, lists and tuples."""
    if isinstance(value, torch.Tensor):
        return [value]
    if is_dataclass(value):
        value = [getattr(value, field.name) for field in fields(value)]
    parts = value if isinstance(value, list | tuple) else []
    return [tensor for part in parts for tensor in tensors_of(part)]


def _points_of_the_cpu(n: int, count: int, generator: torch.Generator) -> torch.Tensor:
    return torch.rand(n, count, 2)


def _with_a_generator_of_the_cpu(n: int, count: int, generator: torch.Generator) -> torch.Tensor:
    return torch.rand((n, count, 2), generator=torch.Generator(), device=generator.device)


MISTAKES: list[tuple[str, str, Any]] = [
    ("mask2former", "unsam_cli.training.bitmasks.BitMasks.to", lambda self, device: self),
    ("mask2former", "unsam_cli.training.criterion.uniform_points", _points_of_the_cpu),
    ("eomt", "unsam_cli.training.criterion.uniform_points", _with_a_generator_of_the_cpu),
    ("eomt", "unsam_cli.training.criterion.sample_maps", lambda maps, points: maps.numpy()),
    ("sam", "unsam_cli.training.prompted.losses.uniform_points", _points_of_the_cpu),
    ("sam lora", "unsam_cli.sam.prompts.Prompts.to", lambda self, device: self),
    ("sam2", "unsam_cli.training.prompted.questions.at_pixels", lambda *a: at_pixels(*a).cpu()),
]


@pytest.mark.parametrize(("kind", "name", "mistake"), MISTAKES)
def test_mistakes_are_noticed(
    kind: str, name: str, mistake: Any, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(name, mistake)
    with fake_gpu(native=False), pytest.raises(DeviceError):
        train(kind, data, "cuda", steps=3)  # not every step has clicks on what was wrong


@pytest.mark.parametrize("kind", ["mask2former", "sam2"])
def test_a_weight_or_an_average_that_stays_behind_is_noticed(kind: str, data: Path) -> None:
    with fake_gpu(native=False):
        learner, _ = train(kind, data, "cuda", steps=1)
        task = learner.task
        batches = [task.collate([task.sample(i, 7)]) for i in range(2)]
        weights = learner.average.weights
        name = next(n for n, p in learner.module.named_parameters() if p.requires_grad)
        weights[name] = weights[name].cpu()
        with pytest.raises(DeviceError):
            learner.update(1, batches)
        weights[name] = weights[name].to("cuda")
        state = next(iter(learner.optimizer.state.values()))
        state["exp_avg"] = state["exp_avg"].cpu()
        with pytest.raises(DeviceError):
            learner.update(1, batches)


@EACH
def test_losses_under_the_autocast_of_cuda(kind: str, data: Path) -> None:
    """What CUDA casts is not what the CPU casts; up to the backward pass."""
    task = make_task(kind, data)
    batch = task.collate([task.sample(i, i) for i in range(2)])
    wanted = sum(loss.item() for loss in task.module.train()(batch, task.amounts(batch)).values())
    with fake_gpu():
        task.module.to("cuda")
        with torch.autocast("cuda", dtype=torch.bfloat16):
            losses = task.module(batch.to("cuda"), task.amounts(batch).float().to("cuda"))
        assert all(loss.dtype == torch.float32 for loss in losses.values())
        found = sum(loss.item() for loss in losses.values())
    assert found == pytest.approx(wanted, rel=0.3)


@pytest.mark.parametrize("kind", ["mask2former", "sam lora"])
def test_a_training_on_a_gpu_goes_on(kind: str, data: Path, tmp_path: Path) -> None:
    """Through files; on another device."""
    with fake_gpu(native=False):
        learner, _ = train(kind, data, "cuda")
        folder = RunFolder(tmp_path / "run")
        progress = {"step": 2, "best": None, "mean": {"sums": {}, "count": 0}, "skipped": {}}
        state = {"settings": {}, **progress, **learner.state()}
        average = learner.average.weights
        folder.path.mkdir()
        folder.save(2, Checkpoint(state, learner.module.state_dict(), average))
        folder.publish(lambda path: learner.task.save(path, learner.weights))
        again = Learner(make_task(kind, data), learner.settings, World(Place(), "cuda:1"))
        last = folder.last()
        assert last is not None
        again.load(load_checkpoint(last, {}), last)
        task = again.task
        batches = [task.collate([task.sample(i, 7)]) for i in range(2)]
        one, other = again.update(2, batches), learner.update(2, batches)
    assert one == pytest.approx(other, rel=1e-3)
