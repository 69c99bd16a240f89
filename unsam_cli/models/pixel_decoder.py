"""The pixel decoder of Mask2Former with less memory: deformable attention, a few pixels at a time.

Modules and weights are those of Hugging Face; only the order of operations differs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from unsam_cli.deformable import attend, in_chunks, project, to_maps

Run = Callable[..., Any]
"""Calls a function with arguments; in training it may recompute it in the backward pass."""


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
    levels = to_maps(hidden, shapes)
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


def _layer(
    layer: Any, hidden: Tensor, positions: Tensor, reference: Tensor, shapes: Sequence[Any]
) -> Tensor:
    """Apply one layer; outside of training, to a few positions at a time."""
    values = project(layer.self_attn, hidden, shapes)

    def update(hidden: Tensor, positions: Tensor, reference: Tensor) -> Tensor:
        attended = attend(layer.self_attn, hidden + positions, reference, values)
        hidden = layer.self_attn_layer_norm(hidden + attended)
        inner = layer.activation_fn(layer.fc1(hidden))
        return layer.final_layer_norm(hidden + layer.fc2(inner))  # type: ignore[no-any-return]

    return in_chunks(update, hidden, positions, reference)
