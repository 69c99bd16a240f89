"""Multi-scale deformable attention: a few learnt places on maps of several resolutions.

Modules and weights are those of Hugging Face's Mask2Former; only the order of operations differs.
All sampled values of one layer, pixels x heads x levels x points x channels, would take 0.4 GB at
1024 x 1536, three times over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

CHUNK = 4096
"""Number of positions that are computed at a time outside of training."""


def to_maps(hidden: Tensor, shapes: Sequence[Any]) -> list[Tensor]:
    """Split positions (B, N, C) into maps (B, C, h_i, w_i), N the sum of all h_i w_i."""
    parts = torch.split_with_sizes(hidden, [h * w for h, w in shapes], 1)
    return [
        torch.unflatten(part.transpose(1, 2), 2, shape)
        for part, shape in zip(parts, shapes, strict=True)
    ]


def project(attention: Any, hidden: Tensor, shapes: Sequence[Any]) -> list[Tensor]:
    """Project the positions that are attended to.

    Parameters
    ----------
    attention : Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention
    hidden : (B, N, C) tensor
        Positions of all levels, level by level and row by row.
    shapes : sequence of (h_i, w_i)
        Sizes of the levels.

    Returns
    -------
    list of (B * heads, C / heads, h_i, w_i) tensors
        Values, one tensor per level.
    """
    return [
        torch.unflatten(v, 1, (attention.n_heads, -1)).flatten(0, 1)
        for v in to_maps(attention.value_proj(hidden), shapes)
    ]


def attend(attention: Any, queries: Tensor, reference: Tensor, values: Sequence[Tensor]) -> Tensor:
    """Sum bilinearly sampled values at a few learnt points around each query.

    Parameters
    ----------
    attention : Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention
    queries : (B, n, C) tensor
        Positions that attend.
    reference : (1 or B, n, 2 or 4) tensor
        x and y of the queries, or x, y of the centre, width and height of their boxes, as fractions
        of the image. Offsets are in pixels of the level, or in halves of a box's sides.
    values : sequence of (B * heads, C / heads, h_i, w_i) tensors
        Values of :func:`project`, one tensor per level.

    Returns
    -------
    (B, n, C) tensor

    References
    ----------
    Zhu et al., "Deformable DETR", ICLR 2021, equation 3 and appendix A.4 (boxes).
    """
    batch = queries.shape[0]
    heads, levels, points = attention.n_heads, attention.n_levels, attention.n_points
    offsets = attention.sampling_offsets(queries).unflatten(2, (heads, levels, points, 2))
    weights = attention.attention_weights(queries).unflatten(2, (heads, levels * points))
    weights = weights.softmax(-1).unflatten(3, (levels, points))
    centre, sides = reference[:, :, None, None, :2], reference[:, :, None, None, 2:]
    total: Tensor | None = None
    for level, value in enumerate(values):
        height, width = value.shape[-2:]
        moves = offsets[:, :, :, level]
        if sides.shape[-1]:
            moves = moves / points * sides * 0.5
        else:
            moves = moves / offsets.new_tensor((width, height))
        places = 2 * (centre + moves) - 1
        # Positions last: sums over points then run along memory.
        grid = places.permute(0, 2, 3, 1, 4).flatten(0, 1)  # (B * heads, points, n, 2)
        share = weights[:, :, :, level].permute(0, 2, 3, 1).flatten(0, 1)[:, None]
        sampled = functional.grid_sample(value, grid, padding_mode="zeros", align_corners=False)
        part = (sampled * share).sum(2)  # (B * heads, C / heads, n)
        total = part if total is None else total + part
    assert total is not None
    joined = torch.unflatten(total, 0, (batch, heads)).flatten(1, 2).transpose(1, 2)
    return attention.output_proj(joined)  # type: ignore[no-any-return]


def in_chunks(
    update: Callable[..., Tensor], hidden: Tensor, positions: Tensor, reference: Tensor
) -> Tensor:
    """Update positions that do not depend on each other; outside of training a few at a time.

    Parameters
    ----------
    update : callable
        Takes slices of the three tensors, and returns the updated slice of the first.
    hidden, positions : (B or 1, N, C) tensors
        Positions, and their encodings.
    reference : (1, N, 2) tensor
        x and y of the positions.

    Returns
    -------
    (B, N, C) tensor
    """
    if torch.is_grad_enabled():
        return update(hidden, positions, reference)
    out = torch.empty_like(hidden)
    for start in range(0, hidden.shape[1], CHUNK):
        part = slice(start, start + CHUNK)
        out[:, part] = update(hidden[:, part], positions[:, part], reference[:, part])
    return out
