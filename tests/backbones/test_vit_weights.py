"""Checkpoints as they are published, and what does not fit."""

import argparse
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor

from unsam_cli.backbones import vit_hub
from unsam_cli.backbones.vit import VitBackbone, create_vit
from unsam_cli.errors import CheckpointError, MissingInputError, WeightsUnavailableError

pytestmark = pytest.mark.torch

NAME = "test_vit"
IMAGES = np.random.default_rng(0).integers(0, 256, (1, 32, 48, 3), dtype=np.uint8)


def make_state(seed: int = 1, **options: Any) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    state: dict[str, Tensor] = timm.create_model(NAME, num_classes=0, **options).state_dict()
    return state


def load(path: Path | str, name: str = NAME, **options: Any) -> VitBackbone:
    return create_vit(name, weights=str(path), device="cpu", **options)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    path = tmp_path_factory.mktemp("timm") / "plain.pth"
    torch.save(make_state(), path)
    features: np.ndarray = load(path).extract(IMAGES)
    assert not np.allclose(features, load("random").extract(IMAGES))
    return features


def training_state() -> dict[str, Any]:
    """What DINO saves while it trains: both networks, their heads, and its command line."""
    backbone = {f"backbone.{k}": v for k, v in make_state().items()}
    teacher = {**backbone, "head.mlp.0.weight": torch.zeros(2, 2)}
    student = {f"module.{k}": torch.zeros_like(v) for k, v in teacher.items()}
    args = argparse.Namespace(arch="vit_base", patch_size=8)
    return {"student": student, "teacher": teacher, "epoch": 3, "args": args, "optimizer": {}}


@pytest.mark.parametrize(
    "content",
    [
        {k: v for k, v in make_state().items() if not k.startswith("head")},
        {"state_dict": {f"module.{k}": v for k, v in make_state().items()}, "epoch": 1},
        {"model": make_state(), "state_dict_ema": make_state(), "arch": NAME},
        {**make_state(), "mask_token": torch.zeros(1), "decoder_embed.weight": torch.zeros(2)},
        training_state(),
    ],
    ids=["backbone", "wrapped", "timm-ema", "mae", "dino-training"],
)
def test_published_forms_are_read(
    tmp_path: Path, expected: np.ndarray, content: dict[str, Any]
) -> None:
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    backbone = load(path)
    assert re.fullmatch(r"sha256:[0-9a-f]{16}", backbone.weights)
    np.testing.assert_array_equal(backbone.extract(IMAGES), expected)


def test_safetensors_are_read(tmp_path: Path, expected: np.ndarray) -> None:
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(make_state(), path)
    np.testing.assert_array_equal(load(path).extract(IMAGES), expected)


def test_the_grid_of_the_checkpoint_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(make_state(img_size=96), path)
    taken = load(path)
    assert taken._model.pos_embed.shape[1] == 6 * 6 + 1
    native = load(path, img_size=96)
    np.testing.assert_array_equal(taken.extract(IMAGES), native.extract(IMAGES))


def test_misfits_are_listed(tmp_path: Path) -> None:
    state = make_state()
    for key in [k for k in state if k.startswith("blocks.1.mlp")]:
        del state[key]
    state["blocks.0.norm1.weight"] = torch.zeros(5)
    state["blocks.77.norm1.weight"] = torch.zeros(5)
    path = tmp_path / "bad.pth"
    torch.save(state, path)
    with pytest.raises(CheckpointError) as caught:
        load(path)
    message = str(caught.value)
    assert "\n" not in message
    assert "4 missing (blocks.1.mlp.fc1.weight, blocks.1.mlp.fc1.bias, " in message
    assert "1 unexpected (blocks.77.norm1.weight)" in message
    assert "1 with a different shape (blocks.0.norm1.weight (5,) for (64,))" in message


def test_another_patch_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.pth"
    torch.save(make_state(patch_size=8, img_size=80), path)
    with pytest.raises(
        CheckpointError, match=r"patches of \(8, 8\) pixels, but the model has patches of \(16"
    ):
        load(path)


class Hostile:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def test_code_in_a_checkpoint_does_not_run(tmp_path: Path) -> None:
    path = tmp_path / "bad.pth"
    torch.save({"model": Hostile(tmp_path / "made")}, path)
    with pytest.raises(CheckpointError, match="not a file of tensors only"):
        load(path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("name", ["bad.pth", "bad.safetensors"])
def test_damage_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if path.suffix == ".pth":
        torch.save(make_state(), path)
    else:
        safetensors.torch.save_file(make_state(), path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match=re.escape(str(path))):
        load(path)


def test_other_content_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.pth"
    torch.save([torch.zeros(1)], path)
    with pytest.raises(CheckpointError, match="holds a list"):
        load(path)


@pytest.mark.parametrize("name", ["no.pth", "/no/such/file", "a/b/c", "~/x", "plain"])
def test_a_missing_file_is_no_hub_id(name: str) -> None:
    with pytest.raises(MissingInputError, match="do not exist"):
        load(name)


def fake_cache(root: Path, repository: str) -> None:
    """A hub cache as the hub's client leaves it."""
    folder = root / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / "0123456789abcdef"
    snapshot.mkdir(parents=True)
    safetensors.torch.save_file(make_state(), snapshot / "model.safetensors")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0123456789abcdef")


def unreachable() -> None:
    raise OSError("Name or service not known")


def test_the_cache_is_used_without_a_network(
    tmp_path: Path, expected: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(vit_hub, "_probe", unreachable)
    fake_cache(tmp_path, "timm/test_vit.r160_in1k")
    fake_cache(tmp_path, "me/mine")
    # timm's own weights for a bare name, a tag, and any repository
    for name, weights in [(NAME, None), (f"{NAME}.r160_in1k", None), (NAME, "me/mine")]:
        backbone = create_vit(name, weights=weights, device="cpu")
        assert backbone.weights == f"hf-hub:{weights or 'timm/test_vit.r160_in1k'}@0123456789ab"
        # published statistics of the tag may differ from those of the bare architecture
        if backbone._mean.equal(load("random")._mean):
            np.testing.assert_array_equal(backbone.extract(IMAGES), expected)


def test_weights_out_of_reach_name_the_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(vit_hub, "_probe", unreachable)
    with pytest.raises(WeightsUnavailableError) as caught:
        create_vit("test_vit.r160_in1k", device="cpu")
    message = str(caught.value)
    assert "\n" not in message
    assert "hf download timm/test_vit.r160_in1k" in message
    assert "give a file of weights" in message
    assert "the backbone builtin" in message


def test_a_model_without_published_weights_says_so() -> None:
    with pytest.raises(WeightsUnavailableError, match="no pretrained weights are published"):
        create_vit("vit_base_patch16_gap_224", device="cpu", depth=1)


def of_another_kind(kind: str, tensor: Tensor) -> Tensor:
    """Return a tensor of the same shape that no network can use."""
    if kind == "nan":
        return torch.full_like(tensor, torch.nan)
    if kind == "infinite":
        return torch.cat([tensor.flatten()[:-1], torch.tensor([-torch.inf])]).reshape(tensor.shape)
    if kind == "too large":
        return tensor.double() + 1e300
    if kind == "float8":
        return tensor.to(torch.float8_e4m3fn)
    if kind == "sparse":
        return tensor.to_sparse()
    return tensor.to({"integers": torch.int8, "bool": torch.bool, "complex": torch.cfloat}[kind])


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("nan", "not finite: 12288 of 12288 values of blocks.1.attn.qkv.weight.*NaN"),
        ("infinite", "not finite: 1 of 12288 values of blocks.1.attn.qkv.weight.*infinite"),
        ("too large", "not finite: 12288 of 12288 values of blocks.1.attn.qkv.weight"),
        ("integers", "blocks.1.attn.qkv.weight is int8, not floating-point numbers"),
        ("bool", "blocks.1.attn.qkv.weight is bool, not floating-point numbers"),
        ("complex", "blocks.1.attn.qkv.weight is complex64, not floating-point numbers"),
        ("float8", "blocks.1.attn.qkv.weight is float8_e4m3fn, not floating-point numbers"),
        ("sparse", "blocks.1.attn.qkv.weight is a sparse tensor"),
    ],
)
def test_what_cannot_be_weights_is_named(tmp_path: Path, kind: str, text: str) -> None:
    state = make_state()
    name = "blocks.1.attn.qkv.weight"
    torch.save({**state, name: of_another_kind(kind, state[name])}, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match=text) as caught:
        load(tmp_path / "bad.pth")
    assert str(tmp_path / "bad.pth") in str(caught.value)


def test_numbers_whose_sum_overflows_are_finite(tmp_path: Path, expected: np.ndarray) -> None:
    state = make_state()
    unused = torch.full((2, 2), 3e38)
    torch.save({**state, "mask_token": unused}, tmp_path / "good.pth")
    np.testing.assert_array_equal(load(tmp_path / "good.pth").extract(IMAGES), expected)


def test_a_folder_of_the_hub_is_read(tmp_path: Path, expected: np.ndarray) -> None:
    safetensors.torch.save_file(make_state(), tmp_path / "model.safetensors")
    np.testing.assert_array_equal(load(tmp_path).extract(IMAGES), expected)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(MissingInputError, match="a folder without model"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"model": {1: 2}}, "missing"),
        ({"pos_embed": 3}, "missing|not a tensor"),
        ({**make_state(), "pos_embed": [1.0]}, "pos_embed is a list, not a tensor"),
        ({k: v.to("meta") for k, v in make_state().items()}, "was saved without its values"),
    ],
)
def test_what_is_no_state_is_refused(tmp_path: Path, content: object, text: str) -> None:
    torch.save(content, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match=text):
        load(tmp_path / "bad.pth")


def test_a_state_that_holds_itself_ends(tmp_path: Path) -> None:
    state: dict[str, Any] = {}
    state["model"] = state
    torch.save(state, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match="missing"):
        load(tmp_path / "bad.pth")


def test_torch_is_not_quoted_where_it_advises_to_trust_a_file(tmp_path: Path) -> None:
    torch.save({"model": Hostile(tmp_path / "made")}, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match=r"wants posix\.mkdir.*could run code") as caught:
        load(tmp_path / "bad.pth")
    assert "weights_only" not in str(caught.value)
