"""The masked decoder of Mask2Former with less memory.

Modules and weights are those of Hugging Face; only the order of operations differs:

- The full masks of all queries are never computed. Resizing is linear, and mask logits are linear
  in the features, so resized masks are dot products with resized features, computed for a few
  queries at a time.
- Attention weights are not kept, and all heads share one attention mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from unsam_cli.models.pixel_decoder import Run

CHUNK = 256
"""Number of queries that are computed at a time outside of training."""


@dataclass(frozen=True)
class Level:
    """Keys and values of one resolution, with S positions.

    Parameters
    ----------
    keys, values : (B, S, C) tensors
        Inputs of cross-attention, with and without the encoding of the position.
    features : (B, C, S) tensor
        Mask features at this resolution; they have no gradient.
    """

    keys: Tensor
    values: Tensor
    features: Tensor


def decode_queries(
    module: Any, maps: Sequence[Tensor], features: Tensor, run: Run
) -> list[tuple[Tensor, Tensor]]:
    """Update the queries by attention to the image and to each other.

    Parameters
    ----------
    module : Mask2FormerTransformerModule
    maps : sequence of (B, C, h_i, w_i) tensors
        Feature maps at strides 32, 16 and 8.
    features : (B, C, h, w) tensor
        Mask features at stride 4.
    run : callable
        Calls each layer with its arguments.

    Returns
    -------
    list of ((B, Q, C) tensor, (B, Q, C) tensor)
        Normalised queries and their mask embeddings: first of the learnt queries, then after each
        layer. Outside of training, only those after the last layer.

    References
    ----------
    Cheng et al., "Masked-attention Mask Transformer for Universal Image Segmentation", CVPR 2022,
    section 3.2.
    """
    decoder = module.decoder
    levels = [_level(module, i, x, features) for i, x in enumerate(maps)]
    places = module.queries_embedder.weight[None]
    hidden = module.queries_features.weight.expand(features.shape[0], -1, -1)
    outputs = [_embed(decoder, hidden)]
    for i, layer in enumerate(decoder.layers):
        embeddings = outputs[-1][1].detach()
        hidden = run(_layer, layer, hidden, places, levels[i % len(levels)], embeddings)
        outputs = [*(outputs if module.training else []), _embed(decoder, hidden)]
    return outputs


def _level(module: Any, index: int, x: Tensor, features: Tensor) -> Level:
    """Turn a feature map of the pixel decoder into keys and values."""
    size = x.shape[-2:]
    place = module.position_embedder((1, *x.shape[1:]), x.device, x.dtype)
    values = module.input_projections[index](x).flatten(2).transpose(1, 2)
    values = values + module.level_embed.weight[index]
    small = functional.interpolate(
        features.detach(), size, mode="bilinear", align_corners=False
    ).flatten(2)
    return Level(values + place.flatten(2).transpose(1, 2), values, small)


def _embed(decoder: Any, hidden: Tensor) -> tuple[Tensor, Tensor]:
    queries = decoder.layernorm(hidden)
    return queries, decoder.mask_predictor.mask_embedder(queries)


def _layer(layer: Any, hidden: Tensor, places: Tensor, level: Level, embeddings: Tensor) -> Tensor:
    """Apply masked cross-attention, self-attention and the feed-forward network."""
    hidden = layer.cross_attn_layer_norm(
        hidden + _look(layer.cross_attn, hidden + places, level, embeddings)
    )
    hidden = layer.self_attn_layer_norm(hidden + _exchange(layer.self_attn, hidden, places))
    return layer.final_layer_norm(hidden + layer.fc2(layer.activation_fn(layer.fc1(hidden))))  # type: ignore[no-any-return]


def _look(attention: Any, queries: Tensor, level: Level, embeddings: Tensor) -> Tensor:
    """Attend to the image inside the query's own mask.

    Parameters
    ----------
    attention : torch.nn.MultiheadAttention
    queries, embeddings : (B, Q, C) tensors
        Queries with their position encoding, and their mask embeddings.
    """
    weights = attention.in_proj_weight.chunk(3)
    biases = attention.in_proj_bias.chunk(3)
    query, key, value = (
        _heads(functional.linear(x, weight, bias), attention.num_heads)
        for x, weight, bias in zip(
            (queries, level.keys, level.values), weights, biases, strict=True
        )
    )
    step = queries.shape[1] if torch.is_grad_enabled() else CHUNK
    seen = [
        functional.scaled_dot_product_attention(
            query[:, :, start : start + step],
            key,
            value,
            attn_mask=_inside(embeddings[:, start : start + step], level.features),
        )
        for start in range(0, queries.shape[1], step)
    ]
    return attention.out_proj(torch.cat(seen, 2).transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


def _inside(embeddings: Tensor, features: Tensor) -> Tensor:
    """Return where masks are, (B, 1, n, S) bool; True everywhere for an empty mask."""
    inside = embeddings.to(features.dtype) @ features >= 0
    return (inside | ~inside.any(-1, keepdim=True))[:, None]


def _exchange(attention: Any, hidden: Tensor, places: Tensor) -> Tensor:
    """Let queries attend to each other; `attention` is a Mask2FormerAttention."""
    heads = attention.num_heads
    placed = hidden + places
    seen = functional.scaled_dot_product_attention(
        _heads(attention.q_proj(placed), heads),
        _heads(attention.k_proj(placed), heads),
        _heads(attention.v_proj(hidden), heads),
    )
    return attention.out_proj(seen.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


def _heads(x: Tensor, heads: int) -> Tensor:
    """Turn (B, N, C) into (B, heads, N, C / heads)."""
    return torch.unflatten(x, 2, (heads, -1)).transpose(1, 2)
