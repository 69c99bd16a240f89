"""Faster attention and MLP of transformers on a CPU.

Both keep intermediate arrays inside the caches, and change results only by rounding.

Attention in bfloat16: PyTorch's fused kernel spends more time on exponentials and repacking than on
the products. Here, blocks of query rows are multiplied with all keys by two plain matrix products
with a softmax between them, which is nearly twice as fast where the CPU multiplies bfloat16
natively. In float32 the fused kernel is as fast as a matrix product, and is not replaced.

MLP: the hidden layer of thousands of tokens takes tens of megabytes, which the operating system
allocates at every call. Blocks of rows reuse the memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_SCORES_PER_THREAD = 1 << 19
"""Number of attention scores per block and thread: 1 MB, the size of a second-level cache."""

_MLP_ROWS = 1024


class BlockedAttention(TorchFunctionMode):
    """Context in which `attend` replaces `scaled_dot_product_attention` of bfloat16 on the CPU.

    It applies to the calling thread only, and changes neither the model nor the library.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call `attend` for plain attention, and all other functions unchanged."""
        kwargs = kwargs or {}
        if func is functional.scaled_dot_product_attention and _is_plain(args, kwargs):
            return attend(*args)
        return func(*args, **kwargs)


def _is_plain(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether a call has bfloat16 tensors on the CPU and neither mask nor dropout."""
    return (
        len(args) == 3
        and all(v is None or (isinstance(v, bool | float) and not v) for v in kwargs.values())
        and all(x.dtype == torch.bfloat16 and x.device.type == "cpu" for x in args)
    )


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Compute softmax(Q K' / sqrt(d)) V in blocks of rows.

    Parameters
    ----------
    query, key, value : (B, H, N, d) tensors
        H heads of N tokens.

    Returns
    -------
    (B, H, N, d) tensor
        A view of a (B, N, H, d) tensor, in which the heads of a token are adjacent.
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
    """Applies a module that processes tokens independently to a block of tokens at a time."""

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
