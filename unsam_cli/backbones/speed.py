"""How fast a network runs, as a fraction of what this machine multiplies.

A rate in images/s says little without the machine; operations done per second over the measured
rate of plain matrix products in the same number format says how much of it is lost.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

_SIDE = {"cpu": 1536, "cuda": 8192, "mps": 4096}


def matmul_rate(dtype: str = "float32", device: str = "cpu", *, seconds: float = 0.3) -> float:
    """Measure the best rate of square matrix products.

    Parameters
    ----------
    dtype : {"float32", "bfloat16", "float16"}
    device : str
        As `--device`.
    seconds : float
        How long to measure; at least three products are timed.

    Returns
    -------
    float
        Operations per second, a multiplication and an addition counted as two. numpy's rate as
        long as torch has no part in it: nothing is imported for float32 on the CPU.
    """
    if dtype == "float32" and device in ("auto", "cpu") and "torch" not in sys.modules:
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
    """Return a product of two `side` x `side` matrices to be timed; it returns when it is done."""
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
    """Count the operations of one image up to one facet: matrix products only.

    Parameters
    ----------
    model : timm VisionTransformer or Eva
    facet : {"key", "query", "value", "token"}
    layer : int
        From 0.
    height, width : int
        Pixels.

    Returns
    -------
    float
        A multiplication and an addition counted as two. What is not computed is not counted: of the
        last block ``key`` needs a third of one projection.
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
