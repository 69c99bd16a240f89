"""Speed of a network as a fraction of the speed of matrix products on this machine.

A rate in images/s depends on the machine. The network's operations per second, divided by the
measured rate of plain matrix products in the same number format, show its efficiency.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from unsam_cli.backbones.accelerator import accelerator

_SIDE = {"cpu": 1536, "cuda": 8192, "mps": 4096}


def matmul_rate(dtype: str = "float32", device: str = "cpu", *, seconds: float = 0.3) -> float:
    """Measure the best rate of square matrix products.

    Parameters
    ----------
    dtype : {"float32", "bfloat16", "float16"}
        Number format of the matrices.
    device : str
        Device, see `unsam_cli.backbones.vit_device.resolve_device`.
    seconds : float
        Minimum time to measure, in seconds; at least three products are timed.

    Returns
    -------
    float
        Operations per second; a multiplication and an addition count as two. For float32 on the
        CPU, numpy is measured if torch is not loaded yet: that takes 2 s less.
    """
    if dtype == "float32" and accelerator(device) is None and "torch" not in sys.modules:
        side = _SIDE["cpu"]
        product = _numpy_product(side)
    else:
        from unsam_cli.backbones.vit_device import resolve_device

        where = resolve_device(device)
        side = _SIDE[where.type]
        product = torch_product(side, dtype, str(where))
    product()
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        start = time.perf_counter()
        product()
        times.append(time.perf_counter() - start)
    return 2.0 * side**3 / min(times)


def _numpy_product(side: int) -> Callable[[], None]:
    a = np.random.default_rng(0).standard_normal((side, side), dtype=np.float32)
    out = np.empty_like(a)

    def product() -> None:
        np.matmul(a, a, out=out)

    return product


def torch_product(side: int, dtype: str, device: str) -> Callable[[], None]:
    """Return a function that computes a product of `side` x `side` matrices and waits for it."""
    import torch

    generator = torch.Generator().manual_seed(0)
    a = torch.randn(side, side, generator=generator).to(device, getattr(torch, dtype))
    out = torch.empty_like(a)
    kind = torch.device(device).type

    def product() -> None:
        torch.mm(a, a, out=out)
        if kind == "cuda":
            torch.cuda.synchronize(device)
        elif kind == "mps":
            torch.mps.synchronize()

    return product


def vit_flops(model: Any, *, facet: str, layer: int, height: int, width: int) -> float:
    """Count the operations of matrix products for one image, up to one facet of one block.

    Parameters
    ----------
    model : timm VisionTransformer or Eva
    facet : {"key", "query", "value", "token"}
        Kind of the features.
    layer : int
        Index of the block, from 0.
    height, width : int
        Size of the image, in pixels.

    Returns
    -------
    float
        Number of operations; a multiplication and an addition count as two. Only what is computed
        is counted: in the last block, ``key`` needs a third of one projection.
    """
    h, w = model.patch_embed.dynamic_feat_size((height, width))
    patches, n = h * w, h * w + model.num_prefix_tokens
    flops: float = (
        2.0 * patches * sum(p.numel() for p in model.patch_embed.parameters() if p.ndim == 4)
    )
    for block in model.blocks[: layer + (facet == "token")]:
        weights = sum(p.numel() for p in block.parameters() if p.ndim == 2)
        flops += 2.0 * n * weights + 4.0 * n * n * block.attn.num_heads * block.attn.head_dim
    if facet != "token":
        attention = model.blocks[layer].attn
        projected = attention.qkv or attention.k_proj
        part = projected.weight.numel() // (3 if attention.qkv is not None else 1)
        flops += 2.0 * patches * part
    return flops
