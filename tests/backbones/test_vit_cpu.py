"""Blocked attention and MLP against PyTorch's own."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from unsam_cli.backbones import vit_cpu
from unsam_cli.backbones.vit_cpu import BlockedAttention, RowBlocks, attend

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(("batch", "heads", "n", "rows"), [(1, 2, 70, 64), (2, 3, 200, 64)])
def test_attend_equals_scaled_dot_product_attention(
    monkeypatch: pytest.MonkeyPatch, batch: int, heads: int, n: int, rows: int
) -> None:
    monkeypatch.setattr(vit_cpu, "_SCORES_PER_THREAD", 1)  # the smallest blocks
    torch.manual_seed(0)
    q, k, v = torch.randn(3, batch, heads, n, 32).unbind(0)
    q = 3 * q  # some tokens attend to few others
    found = attend(q, k, v)
    torch.testing.assert_close(found, functional.scaled_dot_product_attention(q, k, v))


def test_attend_in_bfloat16_errs_hardly_more_than_the_fused_kernel() -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 1, 4, 300, 64).unbind(0)
    exact = functional.scaled_dot_product_attention(3 * q, k, v)
    q, k, v = (3 * q).bfloat16(), k.bfloat16(), v.bfloat16()
    fused = (functional.scaled_dot_product_attention(q, k, v).float() - exact).abs().mean()
    blocked = (attend(q, k, v).float() - exact).abs().mean()
    assert blocked < 3 * fused


def test_only_plain_bfloat16_attention_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[torch.dtype] = []

    def note(query: torch.Tensor, _key: torch.Tensor, _value: torch.Tensor) -> torch.Tensor:
        calls.append(query.dtype)
        return query

    monkeypatch.setattr(vit_cpu, "attend", note)
    x = torch.randn(1, 1, 4, 8)
    y = x.bfloat16()
    attention = functional.scaled_dot_product_attention
    with BlockedAttention():
        attention(x, x, x)
        attention(y, y, y, is_causal=True)
        attention(y, y, y, attn_mask=torch.zeros(4, 4, dtype=torch.bfloat16))
        assert calls == []
        attention(y, y, y, attn_mask=None, dropout_p=0.0, is_causal=False)
    assert calls == [torch.bfloat16]
    attention(y, y, y)
    assert len(calls) == 1


@torch.inference_mode()
def test_row_blocks_equal_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vit_cpu, "_MLP_ROWS", 7)
    torch.manual_seed(0)
    mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
    x = torch.randn(2, 10, 8)
    torch.testing.assert_close(RowBlocks(mlp)(x), mlp(x))
