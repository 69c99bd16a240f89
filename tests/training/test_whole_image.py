from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from segmenter_models import EOMT, TINY
from support import draw_scene
from torch import nn

from unsam_cli.errors import UsageError
from unsam_cli.io.image_entries import ImageInfo
from unsam_cli.models.inputs import normalise
from unsam_cli.models.loading import create_segmenter, load_segmenter
from unsam_cli.models.segmenter import Segmenter
from unsam_cli.prediction.predict import Predictor
from unsam_cli.prediction.settings import PredictSettings
from unsam_cli.rle import encode
from unsam_cli.training.augment import draw_view, view_image
from unsam_cli.training.dataset import AnnotatedImage
from unsam_cli.training.parameters import parameter_groups
from unsam_cli.training.recipe import DataSettings, LossSettings, ParameterSettings, Recipe
from unsam_cli.training.samples import SampleBatch
from unsam_cli.training.skipped import Skipped
from unsam_cli.training.validation import WholeImageValidation
from unsam_cli.training.whole_image import WholeImageTask

pytestmark = pytest.mark.torch

CONFIG = replace(TINY, queries=6, decoder_layers=2)


def disc_and_box(seed: int) -> list[np.ndarray]:
    """Return the two objects of a scene."""
    pixels = draw_scene(seed).astype(int)
    red = pixels[..., 0] > 120
    blue_or_yellow = ~red & (pixels[..., 2] > 120) | (red & (pixels[..., 1] > 120))
    return [red & ~blue_or_yellow, blue_or_yellow]


class Scenes:
    """Synthetic pictures in memory."""

    def __len__(self) -> int:
        return 3

    def info(self, index: int) -> ImageInfo:
        return ImageInfo(index, f"{index}.png", 96, 128)

    def left_out(self, index: int) -> tuple[Skipped, ...]:
        return ()

    def read(self, index: int, rng: np.random.Generator) -> AnnotatedImage:
        masks = [encode(mask) for mask in disc_and_box(index)]
        return AnnotatedImage(f"{index}.png", draw_scene(index), masks)


def recipe(**data: object) -> Recipe:
    settings = DataSettings(**{"crop": 64, **data})  # type: ignore[arg-type]
    return Recipe(settings, LossSettings(points=64))


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return create_segmenter(CONFIG, seed=0)


@pytest.fixture
def task(segmenter: Segmenter) -> WholeImageTask:
    return WholeImageTask(segmenter.train(), Scenes(), recipe())  # type: ignore[arg-type]


def batch(task: WholeImageTask, *indices: int) -> SampleBatch:
    return task.collate([task.sample(i, 100 + i) for i in indices])


def test_losses_are_named_and_reach_every_weight(task: WholeImageTask) -> None:
    step = batch(task, 0, 1)
    losses = task.module(step, task.amounts(step))
    assert list(losses) == ["class", "mask", "dice", "auxiliary"]
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())
    task.module.zero_grad()
    sum(losses.values()).backward()
    lost = [n for n, p in task.module.named_parameters() if p.requires_grad and p.grad is None]
    assert lost == []
    task.module.zero_grad()


def assert_losses_add_up(task: WholeImageTask) -> None:
    together = batch(task, 0, 1, 2)
    totals = task.amounts(together)
    parts = [batch(task, 0), batch(task, 1, 2)]
    torch.testing.assert_close(totals, task.amounts(parts[0]) + task.amounts(parts[1]))
    whole = task.module(together, totals)
    split = [task.module(part, totals) for part in parts]
    for name, loss in whole.items():
        torch.testing.assert_close(loss, split[0][name] + split[1][name], rtol=1e-4, atol=1e-4)


def test_losses_do_not_depend_on_batches(task: WholeImageTask) -> None:
    assert_losses_add_up(task)


def test_groups_are_those_of_the_paper(task: WholeImageTask) -> None:
    groups = task.parameter_groups()
    found = {id(p): (g["lr_scale"], g["weight_decay"]) for g in groups for p in g["params"]}
    names = {n: p for n, p in task.module.named_parameters() if p.requires_grad}
    assert found.keys() == {id(p) for p in names.values()}
    kinds = {name: found[id(parameter)] for name, parameter in names.items()}
    network = "segmenter.network.model"
    for name, kind in kinds.items():
        in_backbone = name.startswith(f"{network}.pixel_level_module.encoder.")
        assert (kind[0] == 0.1) == in_backbone, name
    exempt = [
        f"{network}.transformer_module.queries_features.weight",
        f"{network}.transformer_module.queries_embedder.weight",
        f"{network}.transformer_module.level_embed.weight",
        f"{network}.pixel_level_module.decoder.level_embed",
        f"{network}.pixel_level_module.decoder.input_projections.0.1.weight",
        f"{network}.transformer_module.decoder.layernorm.bias",
    ]
    assert [kinds.pop(name) for name in exempt] == [(1.0, 0.0)] * len(exempt)
    mask_head = f"{network}.transformer_module.decoder.mask_predictor.mask_embedder.0.0.weight"
    assert kinds[mask_head] == (1.0, 0.05)
    assert (0.1, 0.05) in kinds.values()


def test_frozen_normalisation_has_no_group(task: WholeImageTask) -> None:
    frozen = [
        p for m in task.module.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()
    ]
    assert frozen
    listed = {id(p) for group in task.parameter_groups() for p in group["params"]}
    assert not listed & {id(p) for p in frozen}


def test_weights_of_norms_and_embeddings_do_not_decay() -> None:
    class Toy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
            self.head = nn.Embedding(3, 2)
            self.cls_token = nn.Parameter(torch.zeros(2))

    toy = Toy()
    groups = parameter_groups(toy, ["body."], ParameterSettings(0.5, 0.2))
    assert [(g["lr_scale"], g["weight_decay"], len(g["params"])) for g in groups] == [
        (1.0, 0.0, 2),
        (0.5, 0.2, 2),
        (0.5, 0.0, 2),
    ]


def test_the_crop_must_suit_the_network(segmenter: Segmenter) -> None:
    with pytest.raises(UsageError, match="multiple of 32"):
        WholeImageTask(segmenter, Scenes(), recipe(crop=72))  # type: ignore[arg-type]


def test_what_is_saved_opens_with_history(task: WholeImageTask, tmp_path: Path) -> None:
    history = [{"command": "unsam conquer"}, {"command": "unsam train"}]
    task = WholeImageTask(task.segmenter, Scenes(), recipe(), history=history)  # type: ignore[arg-type]
    weights = {
        k: v + 0.01 if v.is_floating_point() else v for k, v in task.module.state_dict().items()
    }
    task.save(tmp_path / "model", weights)
    opened = load_segmenter(str(tmp_path / "model"))
    assert opened.history == history
    state = opened.state_dict()
    for name, value in weights.items():
        assert torch.equal(state[name.removeprefix("segmenter.")], value), name


def test_validation_leaves_the_training_alone(task: WholeImageTask, tmp_path: Path) -> None:
    truth: dict[str, Any] = {"images": [], "annotations": []}
    for i in range(3):
        Image.fromarray(draw_scene(i)).save(tmp_path / f"{i}.png")
        truth["images"].append({"id": i, "file_name": f"{i}.png", "height": 96, "width": 128})
        for mask in disc_and_box(i):
            runs = encode(mask)
            rle = {"size": runs["size"], "counts": runs["counts"].decode()}
            number = len(truth["annotations"])
            truth["annotations"].append({"id": number, "image_id": i, "segmentation": rle})
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    measure = WholeImageValidation(tmp_path / "gt.json", tmp_path)
    task = WholeImageTask(task.segmenter, Scenes(), recipe(), validation=measure)  # type: ignore[arg-type]
    before = {k: v.clone() for k, v in task.module.state_dict().items()}
    other = {k: torch.zeros_like(v) for k, v in before.items()}
    metrics, skipped = task.validate(other)
    assert not skipped
    assert list(metrics) == ["AR@1000", "AR@100", "AR@10", "AP", "AP50"]
    assert task.module.training
    assert all(torch.equal(v, before[k]) for k, v in task.module.state_dict().items())


def test_inference_can_pad_as_training_does() -> None:
    segmenter = create_segmenter(replace(CONFIG, longest_side=64, least_side=64), seed=0).eval()
    pixels = draw_scene(0)
    settings = DataSettings(crop=64, jitter=(1, 1), flip=0)
    view = draw_view(np.random.default_rng(0), pixels.shape[:2], settings)
    sample = view_image(pixels, view, 64)
    (seen,) = (predictor := Predictor(segmenter, PredictSettings())).prepare(pixels)
    assert seen.pixels.shape[:2] == (view.height, view.width) == (48, 64)
    with torch.inference_mode():
        expected = segmenter(normalise(sample[None])).features
    found = predictor.forward([seen]).features
    assert found.shape == expected.shape
    assert (found - expected).abs().mean() < 0.02 * expected.abs().mean()


def test_eomt_learns_the_same_way() -> None:
    config = replace(EOMT, queries=5, longest_side=64)
    task = WholeImageTask(create_segmenter(config, seed=0), Scenes(), recipe())  # type: ignore[arg-type]
    step = batch(task, 0, 1)
    losses = task.module(step, task.amounts(step))
    sum(losses.values()).backward()
    scales = {group["lr_scale"] for group in task.parameter_groups()}
    assert scales == {0.1, 1.0}
    task.begin(0.4)
    assert (task.segmenter.network.attn_mask_probs % 1).any()  # some queries are drawn
    assert_losses_add_up(task)
    task.begin(0.9)
    assert not task.segmenter.network.attn_mask_probs.any()
