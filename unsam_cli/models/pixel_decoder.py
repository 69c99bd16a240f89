"""The pixel decoder of Mask2Former with less memory: deformable attention, a few pixels at a time.

Modules and weights are those of Hugging Face; only the order of operations differs. All sampled
values of one layer, pixels x heads x levels x points x channels, would take 0.4 GB at 1024 x 1536,
three times over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Run = Callable[..., Any]
"""Calls a function with arguments; in training it may recompute it in the backward pass."""

CHUNK = 4096
"""Number of positions that are computed at a time outside of training."""


def decode_pixels(decoder: Any, maps: list[Tensor], run: Run) -> tuple[Tensor, list[Tensor]]:
    """Compute the mask features, and the feature maps that queries attend to.

    Parameters
    ----------
    decoder : Mask2FormerPixelDecoder
    maps : list of (B, C_i, h_i, w_i) tensors
        Feature maps of the backbone at strides 4, 8, 16 and 32. The list is emptied, which frees
        0.2 GB at 1024 x 1536.
    run : callable
        Calls each layer with its arguments.

    Returns
    -------
    features : (B, C, h, w) tensor
        Mask features at stride 4; mask logits are their products with the mask embeddings.
    levels : list of (B, C, h_i, w_i) tensors
        Feature maps at strides 32, 16 and 8.
    """
    inputs = [f(x) for f, x in zip(decoder.input_projections, reversed(maps), strict=False)]
    shapes = [tuple(x.shape[-2:]) for x in inputs]
    finer = reversed(maps[: decoder.num_fpn_levels])
    sides = [f(x) for f, x in zip(decoder.lateral_convolutions, finer, strict=True)]
    maps.clear()
    positions = _positions(decoder, inputs)
    reference = _reference_points(decoder, shapes, positions)
    hidden = torch.cat([x.flatten(2).transpose(1, 2) for x in inputs], 1)
    del inputs
    for layer in decoder.encoder.layers:
        hidden = run(_layer, layer, hidden, positions, reference, shapes)
    levels = _to_maps(hidden, shapes)
    finest = levels[-1]
    for side, output in zip(sides, decoder.output_convolutions, strict=True):
        size = side.shape[-2:]
        side += functional.interpolate(finest, size, mode="bilinear", align_corners=False)
        finest = output(side)
    return decoder.mask_projection(finest), levels


def _positions(decoder: Any, inputs: Sequence[Tensor]) -> Tensor:
    """Return encodings of position and level, (1, N, C)."""
    encodings = []
    for x, level in zip(inputs, decoder.level_embed, strict=True):
        place = decoder.position_embedding((1, *x.shape[1:]), x.device, x.dtype)
        encodings.append(place.flatten(2).transpose(1, 2) + level)
    return torch.cat(encodings, 1)


def _reference_points(decoder: Any, shapes: Sequence[Any], like: Tensor) -> Tensor:
    """Return x and y of the centres of all positions, (1, N, 2), as fractions of the image."""
    whole = like.new_ones(1, len(shapes), 2)
    points: Tensor = decoder.encoder.get_reference_points(shapes, whole, like.device)
    return points[:, :, 0]  # without padding they are the same for all levels


def _to_maps(hidden: Tensor, shapes: Sequence[Any]) -> list[Tensor]:
    parts = torch.split_with_sizes(hidden, [h * w for h, w in shapes], 1)
    return [
        torch.unflatten(part.transpose(1, 2), 2, shape)
        for part, shape in zip(parts, shapes, strict=True)
    ]


def _layer(
    layer: Any, hidden: Tensor, positions: Tensor, reference: Tensor, shapes: Sequence[Any]
) -> Tensor:
    """Apply one layer; outside of training, to a few positions at a time."""
    attention = layer.self_attn
    # (B, N, C) to (B * heads, C / heads, h, w), a level each
    values = [
        torch.unflatten(v, 1, (attention.n_heads, -1)).flatten(0, 1)
        for v in _to_maps(attention.value_proj(hidden), shapes)
    ]
    if torch.is_grad_enabled():
        return _update(layer, hidden, positions, reference, values)
    out = torch.empty_like(hidden)
    for start in range(0, hidden.shape[1], CHUNK):
        part = slice(start, start + CHUNK)
        out[:, part] = _update(
            layer, hidden[:, part], positions[:, part], reference[:, part], values
        )
    return out


def _update(
    layer: Any, hidden: Tensor, positions: Tensor, reference: Tensor, values: Sequence[Tensor]
) -> Tensor:
    """Apply attention and the feed-forward network; positions are independent given `values`."""
    hidden = layer.self_attn_layer_norm(
        hidden + _attend(layer.self_attn, hidden + positions, reference, values)
    )
    return layer.final_layer_norm(hidden + layer.fc2(layer.activation_fn(layer.fc1(hidden))))  # type: ignore[no-any-return]


def _attend(attention: Any, queries: Tensor, reference: Tensor, values: Sequence[Tensor]) -> Tensor:
    """Sum bilinearly sampled values at a few learnt points around each position.

    Parameters
    ----------
    attention : Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention
    queries : (B, n, C) tensor
        Positions that attend.
    reference : (1, n, 2) tensor
        x and y of these positions, as fractions of the image.
    values : sequence of (B * heads, C / heads, h_i, w_i) tensors
        Projected feature maps, one per level.

    References
    ----------
    Zhu et al., "Deformable DETR", ICLR 2021, equation 3.
    """
    batch = queries.shape[0]
    heads, levels, points = attention.n_heads, attention.n_levels, attention.n_points
    offsets = attention.sampling_offsets(queries).unflatten(2, (heads, levels, points, 2))
    weights = attention.attention_weights(queries).unflatten(2, (heads, levels * points))
    weights = weights.softmax(-1).unflatten(3, (levels, points))
    total: Tensor | None = None
    for level, value in enumerate(values):
        height, width = value.shape[-2:]
        moves = offsets[:, :, :, level] / offsets.new_tensor((width, height))
        places = 2 * (reference[:, :, None, None] + moves) - 1
        # Positions last: sums over points then run along memory.
        grid = places.permute(0, 2, 3, 1, 4).flatten(0, 1)  # (B * heads, points, n, 2)
        share = weights[:, :, :, level].permute(0, 2, 3, 1).flatten(0, 1)[:, None]
        sampled = functional.grid_sample(value, grid, padding_mode="zeros", align_corners=False)
        part = (sampled * share).sum(2)  # (B * heads, C / heads, n)
        total = part if total is None else total + part
    assert total is not None
    joined = torch.unflatten(total, 0, (batch, heads)).flatten(1, 2).transpose(1, 2)
    return attention.output_proj(joined)  # type: ignore[no-any-return]
