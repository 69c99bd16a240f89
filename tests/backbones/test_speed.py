"""Operations counted by hand, and a rate that can be measured without torch."""

import subprocess
import sys

import pytest

from unsam_cli.backbones import speed
from unsam_cli.backbones.speed import matmul_rate


def test_the_rate_is_measured_without_torch() -> None:
    code = (
        "import sys; from unsam_cli.backbones.speed import matmul_rate;"
        "assert matmul_rate(seconds=0) > 1e8; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_rate_is_measured_with_torch(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setitem(speed._SIDE, "cpu", 256)  # not every CPU multiplies bfloat16 by itself
    assert torch.get_num_threads() >= 1
    assert matmul_rate(dtype, "auto", seconds=0) > 1e8


@pytest.mark.torch
def test_operations_are_those_of_the_facet() -> None:
    from unsam_cli.backbones.vit import create_vit

    def flops(facet: str, layer: int) -> float:
        backbone = create_vit(
            "vit_small_patch16_224.dino", weights="random", facet=facet, layer=layer, device="cpu"
        )
        return backbone.flops(96, 160)

    d, patches, n = 384, 6 * 10, 6 * 10 + 1
    embedding = 2 * patches * 3 * 16 * 16 * d
    block = 2 * n * 12 * d * d + 4 * n * n * d
    part = 2 * patches * d * d
    assert flops("key", 0) == embedding + part
    assert flops("value", 2) == embedding + 2 * block + part
    assert flops("token", 2) == embedding + 3 * block
