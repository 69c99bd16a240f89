"""Facets of transformers against a plain re-implementation, and against timm's own modules."""

import contextlib
import copy
from typing import Any

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from unsam_cli.backbones.base import FACETS
from unsam_cli.backbones.vit import VitBackbone, create_vit

pytestmark = pytest.mark.torch

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def sample(height: int, width: int, batch: int = 1) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (batch, height, width, 3), dtype=np.uint8)


def make_model(name: str, **options: Any) -> Any:
    """A random model whose attention is far from uniform and whose biases are not zero."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=0, dynamic_img_size=True, **options).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def wrap(model: Any, facet: str, layer: int, dtype: torch.dtype = torch.float32) -> VitBackbone:
    return VitBackbone(
        copy.deepcopy(model),
        name="x",
        weights="random:0",
        facet=facet,  # type: ignore[arg-type]
        layer=layer,
        device=torch.device("cpu"),
        dtype=dtype,
    )


def plain_dino(
    state: dict[str, Tensor], image: NDArray[np.uint8], *, patch: int, heads: int, stop: int
) -> dict[str, NDArray[np.float32]]:
    """DINO's transformer written out; all facets of block `stop`, each (h, w, C)."""
    height, width, _ = image.shape
    h, w = height // patch, width // patch
    x = torch.from_numpy(image).double() / 255
    x = ((x - torch.tensor(MEAN)) / torch.tensor(STD)).float()
    # a patch as a row: channel, row, column, as the weights of a convolution lie
    x = x.reshape(h, patch, w, patch, 3).permute(0, 2, 4, 1, 3).reshape(h * w, -1)
    kernel = state["patch_embed.proj.weight"].flatten(1)
    x = x @ kernel.T + state["patch_embed.proj.bias"]

    position = state["pos_embed"][0]
    side = int((len(position) - 1) ** 0.5)
    grid = position[1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    if (h, w) != (side, side):
        grid = functional.interpolate(grid, size=(h, w), mode="bicubic", antialias=True)
    x = torch.cat([state["cls_token"][0] + position[:1], x + grid[0].flatten(1).T])

    def norm(x: Tensor, key: str) -> Tensor:
        x = x - x.mean(dim=-1, keepdim=True)
        x = x / torch.sqrt((x**2).mean(dim=-1, keepdim=True) + 1e-6)
        return x * state[f"{key}.weight"] + state[f"{key}.bias"]

    def linear(x: Tensor, key: str) -> Tensor:
        return x @ state[f"{key}.weight"].T + state[f"{key}.bias"]

    for i in range(stop + 1):
        q, k, v = linear(norm(x, f"blocks.{i}.norm1"), f"blocks.{i}.attn.qkv").chunk(3, dim=1)
        dim = q.shape[1] // heads
        out = []
        for a in range(heads):
            part = slice(a * dim, (a + 1) * dim)
            scores = torch.exp(q[:, part] @ k[:, part].T / dim**0.5)
            out.append(scores @ v[:, part] / scores.sum(dim=1, keepdim=True))
        x = x + linear(torch.cat(out, dim=1), f"blocks.{i}.attn.proj")
        hidden = linear(norm(x, f"blocks.{i}.norm2"), f"blocks.{i}.mlp.fc1")
        hidden = 0.5 * hidden * (1 + torch.erf(hidden / 2**0.5))
        x = x + linear(hidden, f"blocks.{i}.mlp.fc2")
    facets = {"query": q, "key": k, "value": v, "token": x}
    return {name: y[1:].reshape(h, w, -1).numpy() for name, y in facets.items()}


@pytest.mark.parametrize(
    ("name", "patch", "heads", "size", "stop"),
    [
        ("vit_small_patch16_224.dino", 16, 6, (96, 160), 3),
        ("vit_small_patch16_224.dino", 16, 6, (240, 240), 1),
        ("vit_small_patch16_224.dino", 16, 6, (224, 224), 0),
        ("vit_base_patch8_224.dino", 8, 12, (64, 96), 1),
    ],
)
@torch.inference_mode()
def test_facets_equal_a_plain_implementation(
    name: str, patch: int, heads: int, size: tuple[int, int], stop: int
) -> None:
    images = sample(*size)
    model = make_model(name, depth=stop + 1)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    expected = plain_dino(state, images[0], patch=patch, heads=heads, stop=stop)
    for facet in FACETS:
        backbone = wrap(model, facet, stop)
        found = backbone.extract(images)[0]
        scale = np.abs(expected[facet]).max()
        assert found.shape == (size[0] // patch, size[1] // patch, backbone.dim)
        np.testing.assert_allclose(found, expected[facet], rtol=0, atol=1e-4 * max(1.0, scale))


OTHERS = [
    ("test_vit2", {}),  # registers
    ("test_vit3", {}),
    ("test_vit4", {}),
    ("vit_small_patch14_reg4_dinov2", {"depth": 2}),  # registers and layer scale
    ("vit_small_patch16_dinov3_qkvb", {"depth": 2}),  # rotary positions, fused projections
    ("vit_small_patch16_dinov3", {"depth": 2}),  # without biases
    ("eva02_tiny_patch14_224", {"depth": 2}),  # separate projections
    ("vit_small_patch16_rope_mixed_224", {"depth": 2}),  # rotary positions of each block
    ("vit_base_patch16_224.mae", {"depth": 1}),
    ("vit_base_patch16_clip_quickgelu_224.openai", {"depth": 1}),  # normalised before the blocks
    ("deit_tiny_distilled_patch16_224", {"depth": 2}),  # two prefix tokens
]


@contextlib.contextmanager
def recorded(module: Any) -> Any:
    """Collect the outputs of a module, by a hook of the test's own."""
    outputs: list[Tensor] = []
    handle = module.register_forward_hook(lambda _m, _i, out: outputs.append(out))
    yield outputs
    handle.remove()


@pytest.mark.parametrize(("name", "options"), OTHERS, ids=[name for name, _ in OTHERS])
@torch.inference_mode()
def test_facets_equal_what_timm_computes(name: str, options: dict[str, int]) -> None:
    model = make_model(name, **options)
    patch, layer = model.patch_embed.patch_size[0], len(model.blocks) - 1
    images = sample(3 * patch, 5 * patch)
    mean, std = (torch.tensor(model.pretrained_cfg[k]).view(3, 1, 1) for k in ("mean", "std"))
    pixels = (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - mean) / std
    attention = model.blocks[layer].attn
    modules = (
        {"query": attention.qkv}
        if attention.qkv is not None
        else {"query": attention.q_proj, "key": attention.k_proj, "value": attention.v_proj}
    )
    with contextlib.ExitStack() as stack:
        taken = {k: stack.enter_context(recorded(m)) for k, m in modules.items()}
        # EVA adds its biases outside the module; the block's own input gives them in any case
        normed = stack.enter_context(recorded(model.blocks[layer].norm1))
        tokens = model.forward_intermediates(pixels, [layer], intermediates_only=True)[0]
    expected = {"token": tokens[0].permute(1, 2, 0)}
    prefix = model.num_prefix_tokens
    if attention.qkv is not None:
        bias = getattr(attention, "q_bias", None)
        out = taken["query"][0] if taken["query"] else attention.qkv(normed[0])
        if bias is not None:
            out = functional.linear(normed[0], attention.qkv.weight) + torch.cat(
                [attention.q_bias, attention.k_bias, attention.v_bias]
            )
        parts = dict(zip(("query", "key", "value"), out.chunk(3, dim=-1), strict=True))
    else:
        parts = {k: v[0] for k, v in taken.items()}
    for facet, part in parts.items():
        expected[facet] = part[0, prefix:].reshape(3, 5, -1)
    for facet in FACETS:
        found = wrap(model, facet, layer).extract(images)[0]
        np.testing.assert_allclose(found, expected[facet].numpy(), rtol=1e-4, atol=1e-4)


def test_no_hook_stays_behind() -> None:
    model = make_model("test_vit")
    backbone = wrap(model, "key", 2)
    for _ in range(2):
        backbone.extract(sample(32, 48))
    inside = backbone._model.modules()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in inside)


def test_only_what_is_needed_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = wrap(make_model("test_vit"), "value", 2)
    blocks = backbone._model.blocks
    assert len(blocks) == 3

    def fail(*_args: Any) -> None:
        raise AssertionError("computed in vain")

    monkeypatch.setattr(blocks[2].attn, "forward", fail)
    monkeypatch.setattr(blocks[2].mlp, "forward", fail)
    assert backbone.extract(sample(32, 48)).shape == (1, 2, 3, 64)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_features_do_not_depend_on_the_batch(dtype: str) -> None:
    backbone = create_vit("test_vit", weights="random", device="cpu", dtype=dtype)
    images = sample(48, 80, batch=5)
    together = backbone.extract(images)
    alone = np.concatenate([backbone.extract(images[i : i + 1]) for i in range(5)])
    assert together.dtype == np.float32
    np.testing.assert_array_equal(together, alone)


def test_rotary_positions_stay_exact_in_bfloat16() -> None:
    name = "vit_small_patch16_dinov3"
    images = sample(64, 512)
    exact = wrap(make_model(name, depth=2), "key", 1)
    rounded = wrap(make_model(name, depth=2), "key", 1, torch.bfloat16)
    assert rounded._model.rope.periods.dtype == torch.float32
    a, b = (x.extract(images).reshape(-1, x.dim) for x in (exact, rounded))
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert cosine.min() > 0.995
