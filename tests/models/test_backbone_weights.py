"""Backbones of Mask2Former: weights of several makes, and networks that do not suit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
import torchvision
from detectron2_reference import extract, make_state
from segmenter_models import MASK2FORMER, make_pixels
from torch import Tensor
from transformers import ResNetConfig, ResNetForImageClassification

from unsam_cli.backbones import vit_hub
from unsam_cli.errors import (
    CheckpointError,
    MissingInputError,
    UsageError,
    WeightsUnavailableError,
)
from unsam_cli.io.files import file_identity
from unsam_cli.models.loading import create_segmenter
from unsam_cli.models.settings import SegmenterConfig

pytestmark = pytest.mark.torch

PIXELS = make_pixels(64, 64, batch=1)
SMALL = replace(MASK2FORMER, backbone="resnet50", queries=2, pixel_layers=1, decoder_layers=1)


def feature_maps(config: SegmenterConfig, path: Path | str | None) -> tuple[list[Tensor], str]:
    config = replace(config, backbone_weights=None if path is None else str(path))
    segmenter = create_segmenter(config, seed=0).eval()
    with torch.no_grad():
        maps = segmenter.network.model.pixel_level_module.encoder(PIXELS).feature_maps
    return list(maps), segmenter.identity


@pytest.fixture(scope="module")
def resnet() -> Any:
    torch.manual_seed(0)
    network = torchvision.models.resnet50().eval()
    for name, value in network.named_buffers():
        if value.ndim:
            value.uniform_(0.5, 1.5) if "var" in name else value.normal_(0, 0.1)
    return network


def run_torchvision(network: Any) -> list[Tensor]:
    x = network.maxpool(network.relu(network.bn1(network.conv1(PIXELS))))
    maps = []
    for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
        x = stage(x)
        maps.append(x)
    return maps


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {k: v for k, v in s.items() if not k.startswith("fc.")},
        lambda s: {"teacher": {f"module.backbone.{k}": v for k, v in s.items()}, "epoch": 1},
        lambda s: {k: v for k, v in s.items() if "num_batches" not in k},
    ],
    ids=["torchvision", "dino", "dino-training", "old"],
)
def test_resnet_files_are_read(
    resnet: Any, tmp_path: Path, wrap: Callable[[dict[str, Tensor]], dict[str, Any]]
) -> None:
    path = tmp_path / "resnet.pth"
    torch.save(wrap(resnet.state_dict()), path)
    found, identity = feature_maps(SMALL, path)
    with torch.no_grad():
        expected = run_torchvision(resnet)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert identity.startswith("sha256:")


def test_the_backbone_of_a_detectron2_checkpoint(tmp_path: Path) -> None:
    state = make_state(queries=2)
    path = tmp_path / "model.pth"
    torch.save({"model": state}, path)
    found, _ = feature_maps(SMALL, path)
    torch.testing.assert_close(found, extract(state, PIXELS), rtol=1e-4, atol=1e-4)


def test_the_default_is_dino_on_the_hub(
    resnet: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable() -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(vit_hub, "_probe", unreachable)
    with pytest.raises(WeightsUnavailableError, match=r"dino-resnet-50.*--backbone-weights FILE"):
        feature_maps(SMALL, None)
    folder = tmp_path / "models--Ramos-Ramos--dino-resnet-50"
    (folder / "snapshots" / "0123456789abcdef").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0123456789abcdef")
    network = ResNetForImageClassification(ResNetConfig(num_labels=2)).eval()
    state = network.resnet.state_dict()  # names as in the published file
    torch.save(dict(state), folder / "snapshots" / "0123456789abcdef" / "pytorch_model.bin")
    found, identity = feature_maps(SMALL, None)
    assert identity == "hf-hub:Ramos-Ramos/dino-resnet-50@0123456789ab"
    with torch.no_grad():
        expected = network.resnet(PIXELS, output_hidden_states=True).hidden_states[1:]
    torch.testing.assert_close(tuple(found), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_efficientnet"])
def test_timm_files_are_read(tmp_path: Path, name: str) -> None:
    torch.manual_seed(1)
    network = timm.create_model(name).eval()
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file(network.state_dict(), path)
    found, _ = feature_maps(replace(MASK2FORMER, backbone=name), path)
    strides = timm.create_model(name, features_only=True).feature_info.reduction()
    with torch.no_grad():
        _, maps = network.forward_intermediates(PIXELS, indices=len(strides))
    assert [tuple(x.shape[2:]) for x in found] == [(16, 16), (8, 8), (4, 4), (2, 2)]
    last = {tuple(x.shape): x for x in maps}  # at each stride
    for x in found:
        torch.testing.assert_close(x, last[tuple(x.shape)], rtol=1e-4, atol=1e-4)


def test_a_hub_backbone_brings_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(2)
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16, 16, 24], "depths": [1, 1, 1, 1]}
    network = ResNetForImageClassification(ResNetConfig(**sizes)).eval()
    folder = tmp_path / "models--me--backbone"
    network.save_pretrained(folder / "snapshots" / "0123456789abcdef")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0123456789abcdef")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    config = replace(MASK2FORMER, backbone="me/backbone")
    found, identity = feature_maps(config, None)
    assert identity == "hf-hub:me/backbone@0123456789ab"
    with torch.no_grad():
        expected = network.resnet(PIXELS, output_hidden_states=True).hidden_states[1:]
    torch.testing.assert_close(tuple(found), expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(UsageError, match="includes its weights"):
        feature_maps(config, "some.pth")
    network.save_pretrained(tmp_path / "folder")
    config = replace(MASK2FORMER, backbone=str(tmp_path / "folder"))
    again, identity = feature_maps(config, None)
    assert identity == file_identity(tmp_path / "folder" / "model.safetensors")
    torch.testing.assert_close(again, found, rtol=0, atol=0)
    assert create_segmenter(config, seed=0).config.backbone == "resnet"


def test_misfits_are_listed(resnet: Any, tmp_path: Path) -> None:
    state = resnet.state_dict()
    state.pop("layer3.2.conv1.weight")
    path = tmp_path / "resnet.pth"
    torch.save(state, path)
    with pytest.raises(CheckpointError, match=r"1 missing \(encoder.stages.2.layers.2.layer.0"):
        feature_maps(SMALL, path)
    with pytest.raises(CheckpointError, match="missing"):
        feature_maps(MASK2FORMER, path)
    with pytest.raises(MissingInputError, match="do not exist"):
        feature_maps(SMALL, tmp_path / "none.pth")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("no_such_network", "no_such_network cannot be a backbone: Unknown model"),
        ("test_vit", "choose a hierarchical network, or use --architecture eomt"),
        ("swin_tiny_patch4_window7_224", "does not accept images of arbitrary size|has features"),
        ("./some/where", "is neither a folder"),
    ],
)
def test_backbones_that_do_not_suit(name: str, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        feature_maps(replace(MASK2FORMER, backbone=name), "random")
