"""What makes a transformer fast on a CPU.

Both measures keep the intermediate arrays inside the caches, and both change rounding only.

Attention in bfloat16: PyTorch's fused kernel spends more time on the exponentials and on repacking
than on the products. A block of query rows against all keys, as two plain matrix products with a
softmax between them, is nearly twice as fast where the CPU multiplies bfloat16 natively. In float32
the fused kernel reaches the rate of a matrix product, and is left alone.

MLP: its hidden layer for thousands of tokens at once is tens of megabytes, fresh from the operating
system at every call; done in blocks of rows it is reused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_SCORES_PER_THREAD = 1 << 19
"""Scores of one block of attention rows for each thread: 1 MB, a second-level cache."""

_MLP_ROWS = 1024


class BlockedAttention(TorchFunctionMode):
    """Context in which `scaled_dot_product_attention` of bfloat16 on the CPU is `attend`.

    It holds for the calling thread only and touches neither model nor library.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call `attend` for plain attention, and anything else as it is."""
        kwargs = kwargs or {}
        if func is functional.scaled_dot_product_attention and _is_plain(args, kwargs):
            return attend(*args)
        return func(*args, **kwargs)


def _is_plain(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Say whether the call has bfloat16 arrays on the CPU and neither mask nor dropout."""
    return (
        len(args) == 3
        and all(v is None or (isinstance(v, bool | float) and not v) for v in kwargs.values())
        and all(x.dtype == torch.bfloat16 and x.device.type == "cpu" for x in args)
    )


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Compute softmax(Q K' / sqrt(d)) V in blocks of rows.

    Parameters
    ----------
    query, key, value : (B, H, N, d)

    Returns
    -------
    (B, H, N, d)
        A view of an array in which the heads of a token lie together.
    """
    batch, heads, n, d = query.shape
    rows = min(n, max(64, _SCORES_PER_THREAD * torch.get_num_threads() // n))
    scores, weights = query.new_empty((2, rows, n))
    out = query.new_empty((batch, n, heads, d))
    query = query * d**-0.5
    for b in range(batch):
        for h in range(heads):
            q, k, v = (x[b, h].contiguous() for x in (query, key, value))
            for start in range(0, n, rows):
                part = q[start : start + rows]
                m = len(part)
                torch.mm(part, k.T, out=scores[:m])
                torch.softmax(scores[:m], dim=-1, out=weights[:m])
                out[b, start : start + m, h] = weights[:m] @ v
    return out.transpose(1, 2)


class RowBlocks(nn.Module):
    """A module that treats every token by itself, applied to a block of tokens at a time."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, N, C) to (B, N, C)."""
        out = torch.empty_like(tokens)
        rows, out_rows = tokens.flatten(0, 1), out.view(-1, tokens.shape[-1])
        for part, target in zip(
            torch.split(rows, _MLP_ROWS), torch.split(out_rows, _MLP_ROWS), strict=True
        ):
            target.copy_(self.module(part))
        return out
