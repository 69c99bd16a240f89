"""Networks that look at images, on a GPU that is not there: the same numbers as on the CPU."""

from __future__ import annotations

import functools
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_gpu import DeviceError, fake_gpu
from sam_models import make_sam, make_sam2, picture
from segmenter_models import make_segmenter

from unsam_cli.backbones.vit import create_vit
from unsam_cli.divide.maskcut import maskcut_batch
from unsam_cli.models.loading import load_segmenter, save_segmenter
from unsam_cli.prediction.masks import draw, slices
from unsam_cli.prediction.predict import Predictor
from unsam_cli.prediction.settings import PredictSettings
from unsam_cli.rle import iou
from unsam_cli.sam.automatic import automatic_masks
from unsam_cli.sam.encoder import create_promptable
from unsam_cli.sam.loading import load_promptable, save_promptable
from unsam_cli.sam.model import PromptableModel
from unsam_cli.sam.session import Session
from unsam_cli.sam.settings import AutomaticConfig, Prompt, PromptableConfig

pytestmark = pytest.mark.torch

DEVICES = ["cuda", "cuda:1", "mps"]
ON = pytest.mark.parametrize("device", DEVICES)


def on(device: str) -> Any:
    return nullcontext() if device == "cpu" else fake_gpu(device.partition(":")[0])


def strand(module: torch.nn.Module, name: str) -> None:
    """Leave a weight or buffer behind on the CPU."""
    owner, _, last = name.rpartition(".")
    part = module.get_submodule(owner)
    left = getattr(part, last).detach().cpu()
    if last in part._parameters:
        left = torch.nn.Parameter(left)
    setattr(part, last, left)


# ---------------------------------------------------------------- backbones


VITS: dict[
    str, Any
] = {  # one of each kind of positions: learnt, rotary, mixed rotary with SwiGLU, registers
    "test_vit": {},
    "vit_small_patch16_dinov3": {"depth": 2},
    "eva02_tiny_patch14_224": {"depth": 2},
    "vit_small_patch14_reg4_dinov2": {"depth": 2},
}
IMAGES = np.random.default_rng(0).integers(0, 255, (2, 112, 112, 3), dtype=np.uint8)


def features(name: str, device: str, *, stranded: str = "", **options: Any) -> np.ndarray:
    with on(device):
        backbone = create_vit(name, weights="random", device=device, **VITS[name], **options)
        if stranded:
            strand(backbone._model, stranded)
        return backbone.extract(IMAGES)


@functools.cache
def on_the_cpu(function: Any, *arguments: Any, **options: Any) -> Any:
    """Return what a function of this file gives on the CPU, computed once."""
    return function(*arguments, "cpu", **options)


@ON
@pytest.mark.parametrize("name", VITS)
def test_features_are_those_of_the_cpu(name: str, device: str) -> None:
    facet = "token" if device == "cuda:1" else "key"
    expected = on_the_cpu(features, name, facet=facet)
    found = features(name, device, facet=facet)
    assert np.abs(found - expected).max() < 1e-5 * expected.std()


@pytest.mark.parametrize("name", VITS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_features_in_half_precision(name: str, dtype: str) -> None:
    expected = on_the_cpu(features, name, facet="key")
    found = features(name, "cuda", dtype=dtype)
    assert np.abs(found - expected).mean() < 0.05 * expected.std()


def test_the_device_is_waited_for_once_a_batch() -> None:
    with fake_gpu() as gpu:
        backbone = create_vit("test_vit", weights="random", device="cuda")
        backbone.extract(IMAGES)
        assert gpu.waits == 1


# ---------------------------------------------------------------- cuts


def cuts(device: str) -> list[Any]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, (3, 12, 14))
    centres = rng.standard_normal((5, 16))
    grids = (centres[labels] + 0.7 * rng.standard_normal((3, 12, 14, 16))).astype(np.float32)
    with on(device):
        return maskcut_batch(list(grids), device=device)


@ON
def test_cuts_are_those_of_the_cpu(device: str) -> None:
    for found, expected in zip(cuts(device), on_the_cpu(cuts), strict=True):
        assert len(found) == len(expected) > 0
        for one, other in zip(found, expected, strict=True):
            assert np.array_equal(one.mask, other.mask)


# ---------------------------------------------------------------- whole-image segmenters


@pytest.fixture(scope="module", params=["mask2former", "eomt"])
def segmenter_folder(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Path:
    folder: Path = tmp_path_factory.mktemp(request.param)
    save_segmenter(make_segmenter(request.param, shallow=True), folder)
    return folder


def masks_of(folder: Path, device: str, *, dtype: str = "float32", stranded: str = "") -> Any:
    """Return logits and scores, of two pictures that share a batch."""
    settings = PredictSettings(dtype=dtype, size=(64, 96))
    with on(device):
        segmenter = load_segmenter(str(folder), device)
        if stranded:
            strand(segmenter.network, stranded)
        predictor = Predictor(segmenter, settings)
        inputs = [predictor.prepare(picture(64, 96, seed))[0] for seed in (0, 1)]
        predictions = predictor.forward(inputs)
        parts = [list(slices(predictions, i, settings)) for i in range(2)]
        found = [draw(p, inputs[i].view, inputs[i].size) for i in range(2) for p in parts[i]]
        assert sum(map(len, found)) > 10
    return [part for each in parts for part in each]


@ON
def test_masks_are_those_of_the_cpu(segmenter_folder: Path, device: str) -> None:
    expected = on_the_cpu(masks_of, segmenter_folder)
    for one, other in zip(masks_of(segmenter_folder, device), expected, strict=True):
        assert np.abs(one.maps - other.maps).max() < 1e-4 * other.maps.std()
        assert np.abs(one.scores - other.scores).max() < 1e-5


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_masks_in_half_precision(segmenter_folder: Path, dtype: str) -> None:
    expected = on_the_cpu(masks_of, segmenter_folder)
    for one, other in zip(masks_of(segmenter_folder, "cuda", dtype=dtype), expected, strict=True):
        assert np.abs(one.maps - other.maps).mean() < 0.2 * other.maps.std()


# ---------------------------------------------------------------- promptable segmenters


@pytest.fixture(scope="module", params=["sam", "sam2"])
def sam_folder(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Path:
    folder: Path = tmp_path_factory.mktemp(request.param)
    network = make_sam() if request.param == "sam" else make_sam2()
    save_promptable(PromptableModel(network, PromptableConfig(4, granularity=True)), folder)
    return folder


QUESTIONS = [
    Prompt(((20.0, 30.0),), (1,)),
    Prompt(((90.0, 70.0), (10.0, 80.0)), (1, 0)),
    Prompt((), (), box=(10.0, 20.0, 80.0, 90.0)),
    Prompt(((60.0, 50.0),), (1,), granularity=0.4),
]


def answers(folder: Path, device: str, *, dtype: str = "float32", stranded: str = "") -> Any:
    """Encode a picture, answer prompts, click twice."""
    with on(device):
        model = load_promptable(str(folder), device)
        if stranded:
            strand(model.network, stranded)
        model.dtype = dtype
        session = Session(model)
        session.set_image(picture(100, 120))
        found = session.ask(QUESTIONS)
        found.append(session.click(QUESTIONS[0]))
        found.append(session.click(Prompt(((20.0, 30.0), (50.0, 60.0)), (1, 0))))
    return [(answer.rles, answer.scores) for answer in found]


@ON
def test_answers_are_those_of_the_cpu(sam_folder: Path, device: str) -> None:
    expected = on_the_cpu(answers, sam_folder)[:-1]  # a tie decides which mask the last one refines
    for (rles, scores), (others, wanted) in zip(
        answers(sam_folder, device), expected, strict=False
    ):
        assert np.allclose(scores, wanted, atol=1e-4)
        assert np.diag(iou(rles, others)).min() > 0.99


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_answers_in_half_precision(sam_folder: Path, dtype: str) -> None:
    found = answers(sam_folder, "cuda", dtype=dtype)
    assert np.allclose(found[0][1], on_the_cpu(answers, sam_folder)[0][1], atol=0.2)


def everything(
    folder: Path, device: str, *, granularity: float | None = None, stranded: str = ""
) -> Any:
    config = AutomaticConfig(points_per_side=5, min_score=-9, min_stability=0.1, crop_layers=1)
    with on(device):
        model = load_promptable(str(folder), device)
        if stranded:
            strand(model.network, stranded)
        return automatic_masks(model, picture(100, 120), config, granularity=granularity)


@ON
def test_automatic_masks_are_those_of_the_cpu(sam_folder: Path, device: str) -> None:
    granularity = 0.5 if device == "cuda:1" else None
    expected = on_the_cpu(everything, sam_folder, granularity=granularity)
    found = everything(sam_folder, device, granularity=granularity)
    assert len(found) == len(expected) > 0
    assert np.diag(iou(found.rles, expected.rles)).min() > 0.99


def embedding(folder: Path, device: str, dtype: str = "float32") -> np.ndarray:
    with on(device):
        encoder = create_promptable(str(folder), device=device, dtype=dtype)
        return encoder.extract(encoder.frame((100, 120)).resized(picture(100, 120))[None])


@ON
def test_embeddings_are_those_of_the_cpu(sam_folder: Path, device: str) -> None:
    expected = on_the_cpu(embedding, sam_folder)
    assert np.allclose(embedding(sam_folder, device), expected, atol=1e-4)
    half = embedding(sam_folder, "cuda", "bfloat16")
    assert np.abs(half - expected).mean() < 0.1 * expected.std()


# ---------------------------------------------------------------- mistakes that must be noticed


@pytest.mark.parametrize("name", ["blocks.1.norm1.weight", "pos_embed"])
def test_a_weight_of_a_backbone_that_stays_behind_is_noticed(name: str) -> None:
    with pytest.raises(DeviceError, match="several devices"):
        features("test_vit", "cuda", stranded=name)


def test_a_rotary_embedding_that_stays_behind_is_noticed() -> None:
    with pytest.raises(DeviceError, match="several devices"):
        features("vit_small_patch16_dinov3", "cuda", stranded="rope.periods")


STRANDED = {
    "mask2former": [
        "model.transformer_module.level_embed.weight",
        "model.pixel_level_module.decoder.level_embed",
        "class_predictor.bias",
    ],
    "eomt": ["query.weight", "embeddings.cls_token", "class_predictor.bias"],
    "sam": ["vision_encoder.pos_embed", "mask_decoder.iou_token.weight"],
    "sam2": ["no_memory_embedding", "mask_decoder.mask_tokens.weight"],
}


def test_a_weight_of_a_segmenter_that_stays_behind_is_noticed(segmenter_folder: Path) -> None:
    for name in STRANDED[segmenter_folder.name[:-1]]:
        with pytest.raises(DeviceError, match="several devices"):
            masks_of(segmenter_folder, "cuda", stranded=name)


def test_a_weight_of_a_promptable_model_that_stays_behind_is_noticed(sam_folder: Path) -> None:
    for name in STRANDED[sam_folder.name[:-1]]:
        with pytest.raises(DeviceError, match="several devices"):
            answers(sam_folder, "cuda", stranded=name)
        with pytest.raises(DeviceError, match="several devices"):
            everything(sam_folder, "cuda", stranded=name)
