"""Segmenters as folders: written, opened by us and by transformers, and refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from segmenter_models import CONFIGS, make_pixels, make_segmenter
from transformers import (
    EomtForUniversalSegmentation,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    ResNetConfig,
)

from unsam_cli.backbones import vit_hub
from unsam_cli.backbones.folder_config import quiet
from unsam_cli.errors import (
    CheckpointError,
    MissingInputError,
    UsageError,
    WeightsUnavailableError,
)
from unsam_cli.models.loading import (
    create_segmenter,
    load_segmenter,
    save_segmenter,
)
from unsam_cli.models.segmenter import Segmenter
from unsam_cli.models.settings import SegmenterConfig

pytestmark = pytest.mark.torch

PLAIN = {
    "mask2former": Mask2FormerForUniversalSegmentation,
    "eomt": EomtForUniversalSegmentation,
}
PIXELS = make_pixels(64, 64)
HISTORY = [{"command": "unsam train", "version": "0"}]


def test_round_trip(
    segmenter: Segmenter, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run" / "model"
    save_segmenter(segmenter, folder, history=HISTORY)
    assert sorted(p.name for p in folder.iterdir()) == [
        "config.json",
        "model.safetensors",
        "unsam.json",
    ]
    loaded = load_segmenter(str(folder))
    assert not loaded.training
    expected_config = replace(segmenter.config, backbone_weights=None)  # may be a path
    assert (loaded.config, loaded.history) == (expected_config, HISTORY)
    assert loaded.identity.startswith("sha256:")
    with torch.no_grad():
        found, expected = loaded(PIXELS), segmenter(PIXELS)
    torch.testing.assert_close(found.class_logits, expected.class_logits)
    torch.testing.assert_close(found.mask_logits(), expected.mask_logits())
    assert capfd.readouterr() == ("", "")
    modes = {path.stat().st_mode for path in folder.iterdir()}
    assert len(modes) == 1


def test_plain_transformers_opens_the_folder(segmenter: Segmenter, tmp_path: Path) -> None:
    if segmenter.config.architecture not in PLAIN:
        pytest.skip("no network of transformers")
    save_segmenter(segmenter, tmp_path, history=[])
    with quiet():
        network = PLAIN[segmenter.config.architecture].from_pretrained(tmp_path).eval()
    with torch.no_grad():
        found, expected = network(PIXELS), segmenter(PIXELS)
    torch.testing.assert_close(
        found.masks_queries_logits, expected.mask_logits(), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(
        found.class_queries_logits, expected.class_logits[-1], rtol=1e-4, atol=1e-4
    )


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_segmenter(make_segmenter(), tmp_path / name)
    for file in ("config.json", "model.safetensors", "unsam.json"):
        one, two = ((tmp_path / name / file).read_bytes() for name in ("one", "two"))
        assert one == two


def test_given_weights_are_written(segmenter: Segmenter, tmp_path: Path) -> None:
    kept = {k: v.clone() for k, v in segmenter.state_dict().items()}
    averaged = {k: v + 1 for k, v in kept.items()}
    save_segmenter(segmenter, tmp_path, weights=averaged, history=[])
    loaded = load_segmenter(str(tmp_path)).state_dict()
    assert all(torch.equal(loaded[k], averaged[k]) for k in averaged)
    assert all(torch.equal(v, kept[k]) for k, v in segmenter.state_dict().items())
    averaged.pop(next(iter(averaged)))
    with pytest.raises(CheckpointError, match="1 missing"):
        save_segmenter(segmenter, tmp_path, weights=averaged, history=[])


def foreign() -> Any:
    """A small Mask2Former of another maker, with three classes."""
    torch.manual_seed(0)
    backbone = ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 16, 16],
        depths=[1, 1, 1, 1],
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    sizes = dict.fromkeys(("hidden_dim", "feature_size", "mask_feature_size"), 32)
    with quiet():
        config = Mask2FormerConfig(
            backbone_config=backbone,
            num_labels=3,
            num_queries=10,
            encoder_layers=1,
            decoder_layers=3,
            **sizes,
        )
        return Mask2FormerForUniversalSegmentation(config).eval()


def test_networks_with_classes_become_class_agnostic(tmp_path: Path) -> None:
    network = foreign()
    with quiet():
        network.save_pretrained(tmp_path)
    segmenter = load_segmenter(str(tmp_path))
    config = segmenter.config
    assert (config.backbone, config.queries, config.hidden) == ("resnet", 10, 32)
    assert (config.pixel_layers, config.layers) == (1, 2)
    with torch.no_grad():
        expected = network(PIXELS).class_queries_logits.softmax(-1)
        found = segmenter(PIXELS).class_logits[-1].softmax(-1)
    torch.testing.assert_close(found[..., 1], expected[..., -1])
    save_segmenter(segmenter, tmp_path / "again")
    assert load_segmenter(str(tmp_path / "again")).config == config


def test_an_incomplete_folder_is_refused(tmp_path: Path) -> None:
    network = foreign()
    state = network.state_dict()
    state.pop("class_predictor.bias")
    with quiet():
        network.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(CheckpointError, match=r"1 missing \(class_predictor.bias\)"):
        load_segmenter(str(tmp_path))


@pytest.mark.parametrize(
    ("file", "content", "text"),
    [
        ("config.json", None, "no such file"),
        ("config.json", "{", "cannot be read"),
        ("config.json", "[]", "not a JSON object"),
        ("config.json", '{"model_type": "sam"}', "a model of type 'sam'"),
        ("unsam.json", '{"version": 99}', "version 99, but this program reads version 1"),
        ("unsam.json", '{"config": {"surprise": 1}}', "settings cannot be read"),
        ("unsam.json", '{"config": {"queries": 0}}', "queries is 0"),
        ("model.safetensors", "no tensors", "is a text; a checkpoint"),
        ("model.safetensors", None, "has no weights"),
    ],
)
def test_damaged_folders_are_refused(
    tmp_path: Path, file: str, content: str | None, text: str
) -> None:
    save_segmenter(make_segmenter(), tmp_path)
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_text(content)
    with pytest.raises(CheckpointError, match=text) as caught:
        load_segmenter(str(tmp_path))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("name", ["no.pth", "/no/folder", "plain", "./a/b"])
def test_missing_checkpoints(name: str) -> None:
    with pytest.raises(MissingInputError, match="no such checkpoint"):
        load_segmenter(name)


def unreachable() -> None:
    raise OSError("Name or service not known")


def test_the_hub_is_used_from_its_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(vit_hub, "_probe", unreachable)
    folder = tmp_path / "models--me--mine"
    save_segmenter(make_segmenter(), folder / "snapshots" / "0123456789abcdef")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0123456789abcdef")
    loaded = load_segmenter("me/mine")
    assert loaded.identity == "hf-hub:me/mine@0123456789ab"
    assert loaded.config.queries == CONFIGS["mask2former"].queries
    with pytest.raises(WeightsUnavailableError, match="run/best is meant to be a folder"):
        load_segmenter("run/best")


def test_batch_normalisation_stays(mask2former: Segmenter) -> None:
    mask2former.train()
    norms = [m for m in mask2former.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    before = [m.running_mean.clone() for m in norms if m.running_mean is not None]
    mask2former(make_pixels(dtype=torch.float64)).class_logits.sum().backward()
    assert norms
    assert all(not m.training for m in norms)
    assert all(p.grad is None and not p.requires_grad for m in norms for p in m.parameters())
    after = [m.running_mean for m in norms if m.running_mean is not None]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert any(m.training for m in mask2former.modules())


def test_settings_are_written_for_readers(tmp_path: Path) -> None:
    save_segmenter(make_segmenter(), tmp_path, history=HISTORY)
    about = json.loads((tmp_path / "unsam.json").read_text())
    assert about["format"] == "unsam-segmenter"
    assert about["history"] == HISTORY
    assert about["config"]["short_side"] == 1024
    assert about["inputs"]["multiple"] == 32


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"architecture": "unet"}, "architecture is 'unet'; choose mask2former or eomt"),
        ({"queries": 0}, "queries is 0"),
        ({"decoder_layers": 0}, "layers is 0"),
        ({"hidden": 48}, "hidden is 48; it must be a multiple of 32"),
        ({"longest_side": 100}, "longest_side 100 is less than short_side 1024"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        SegmenterConfig(**settings)


def test_seed_decides_all_weights() -> None:
    config = CONFIGS["mask2former"]
    torch.manual_seed(5)
    one, same, other = (create_segmenter(config, seed=s).state_dict() for s in (1, 1, 2))
    assert all(torch.equal(one[k], same[k]) for k in one)
    encoder = "network.model.pixel_level_module.encoder."
    convolutions = [k for k, v in one.items() if k.startswith(encoder) and v.ndim == 4]
    assert convolutions
    assert not any(torch.equal(one[k], other[k]) for k in convolutions)


def test_a_folder_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    """Its settings name the side of the network's input twice."""
    save_segmenter(make_segmenter(), tmp_path, history=[])
    about = json.loads((tmp_path / "unsam.json").read_text())
    about["config"]["image_size"] = about["config"]["short_side"]
    (tmp_path / "unsam.json").write_text(json.dumps(about))
    assert load_segmenter(str(tmp_path)).config.image_size == about["config"]["short_side"]
