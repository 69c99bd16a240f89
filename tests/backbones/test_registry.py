"""From names to backbones, and what is refused."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from unsam_cli.backbones import Backbone, create_backbone
from unsam_cli.backbones.base import resolve_layer
from unsam_cli.errors import UsageError


def test_nothing_imports_torch_before_a_transformer_is_made() -> None:
    code = (
        "import sys, numpy as np, unsam_cli.extraction; from unsam_cli.backbones import *;"
        "b = create_backbone(); b.extract(np.zeros((1, 64, 64, 3), np.uint8));"
        "assert not {'torch', 'timm', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_layers_count_from_both_ends() -> None:
    assert [resolve_layer(i, 3) for i in (0, 2, -1, -3)] == [0, 2, 2, 0]
    for layer in (3, -4):
        with pytest.raises(UsageError, match="0 to 2, or -1"):
            resolve_layer(layer, 3)


def test_the_built_in_backbone_has_no_weights() -> None:
    with pytest.raises(UsageError, match="has no weights"):
        create_backbone("builtin", weights="dino.pth")


@pytest.mark.torch
def test_a_transformer_is_a_backbone() -> None:
    backbone = create_backbone(
        "test_vit", weights="random", facet="token", layer=-2, device="cpu", seed=3
    )
    assert isinstance(backbone, Backbone)
    assert (backbone.name, backbone.weights, backbone.facet) == ("test_vit", "random:3", "token")
    assert (backbone.patch_size, backbone.dim, backbone.threadsafe) == (16, 64, False)
    assert backbone.layer == 4


@pytest.mark.torch
def test_random_weights_follow_the_seed_and_leave_the_global_state() -> None:
    import torch

    images = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)

    def features(seed: int) -> Any:
        backbone = create_backbone("test_vit", weights="random", device="cpu", seed=seed)
        return backbone.extract(images)

    torch.manual_seed(7)
    state = torch.get_rng_state()
    first = features(1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    np.testing.assert_array_equal(first, features(1))
    assert not np.allclose(first, features(2))


@pytest.mark.torch
@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("vit_base_patch8_244.dino", {}, "did you mean vit_base_patch8_224.dino"),
        ("hf-hub:timm/test_vit", {}, "give a timm name as --backbone"),
        ("resnet18", {}, "use a plain vision transformer"),
        ("test_vit_relpos", {}, "no patch tokens"),
        ("vit_tiny_r_s16_p8_224", {}, "no patch tokens"),
        ("test_vit", {"facet": "keys"}, "choose one of key, query, value, token"),
        ("test_vit", {"layer": 6}, "the model has 6 blocks"),
        ("test_vit", {"device": "gpu"}, "choose auto, cpu, cuda"),
        ("test_vit", {"device": "cpu:1"}, "choose auto, cpu, cuda"),
        ("test_vit", {"device": "cuda:99"}, "use --device auto or cpu"),
        ("test_vit", {"dtype": "float64"}, "choose one of float32, bfloat16, float16"),
        ("test_vit", {"dtype": "float16"}, "use --dtype bfloat16 or float32"),
    ],
)
def test_what_cannot_work_is_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        create_backbone(name, weights="random", **{"device": "cpu", **options})
    assert "\n" not in str(caught.value)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((1, 32, 40, 3), np.uint8, "32 x 40 is not a multiple of the patch size 16"),
        ((32, 32, 3), np.uint8, "stack RGB images"),
        ((1, 32, 32, 3), np.float32, "stack RGB images"),
        ((1, 0, 32, 3), np.uint8, "multiple of the patch size"),
    ],
)
def test_images_of_the_wrong_form_are_refused(shape: Any, dtype: Any, message: str) -> None:
    backbone = create_backbone("test_vit", weights="random", device="cpu")
    with pytest.raises(UsageError, match=message):
        backbone.extract(np.zeros(shape, dtype))
    assert backbone.extract(np.zeros((0, 32, 32, 3), np.uint8)).shape == (0, 2, 2, 64)
