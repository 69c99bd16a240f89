"""SAM's mask decoder with the projections of image tokens folded into those of the prompt tokens.

A prompt has fewer than ten tokens, the image 4096. The product of a token's query and an image
token's key is ``q . (W x) = (W' q) . x``. Projecting the query instead of the image costs almost
nothing, and the image is neither projected nor repeated for every prompt. The same applies to the
image's values and queries. Upscaling works on rows of pixels, for which transposed convolutions
with stride = kernel are matrix products.

The result equals that of the decoder up to rounding, with about a third of its operations.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def two_way(
    transformer: Any, tokens: Tensor, image: Tensor, positions: Tensor
) -> tuple[Tensor, Tensor]:
    """Let the tokens of prompts and those of the image attend to each other.

    Parameters
    ----------
    transformer : SamTwoWayTransformer or Sam2TwoWayTransformer
    tokens : (P, T, C) tensor
        T tokens for each of P prompts.
    image : (1 or P, N, C) tensor
        Tokens of the image, shared by all prompts or one set per prompt.
    positions : (1, N, C) tensor
        Position encodings of the image's tokens.

    Returns
    -------
    tokens : (P, T, C) tensor
        Updated tokens of the prompts.
    image : (P, N, C) tensor
        Updated tokens of the image, for each prompt.
    """
    queries = tokens
    for layer in transformer.layers:
        queries = _self_attention(layer, queries, tokens)
        placed = image + positions
        attended = _to_image(layer.cross_attn_token_to_image, queries + tokens, placed, image)
        queries = layer.layer_norm2(queries + attended)
        queries = layer.layer_norm3(queries + layer.mlp(queries))
        weights, values = _from_image(
            layer.cross_attn_image_to_token, placed, queries + tokens, queries
        )
        image = layer.layer_norm4(
            torch.baddbmm(image.expand(len(tokens), -1, -1), weights.transpose(1, 2), values)
        )
    attention = transformer.final_attn_token_to_image
    attended = _to_image(attention, queries + tokens, image + positions, image)
    return transformer.layer_norm_final_attn(queries + attended), image


def _self_attention(layer: Any, queries: Tensor, tokens: Tensor) -> Tensor:
    first = layer.skip_first_layer_pe
    query = (queries if first else queries + tokens)[None]
    attended = layer.self_attn(query=query, key=query, value=queries[None])[0][0]
    mixed: Tensor = layer.layer_norm1(attended if first else queries + attended)
    return mixed


def _to_image(attention: Any, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Compute the attention of tokens (P, T, C) to the image (1 or P, N, C)."""
    (P, T, C), heads = queries.shape, attention.num_attention_heads
    query = attention.q_proj(queries).view(P, T, heads, -1) * attention.scaling
    key_weight = attention.k_proj.weight.view(heads, -1, C)
    folded = torch.einsum("pthd,hdc->phtc", query, key_weight).reshape(P, heads * T, C)
    # The bias of keys adds the same to all scores of a token, which the softmax ignores.
    shares = _product(folded, keys.transpose(1, 2)).softmax(dim=-1)
    mixed = _product(shares, values).view(P, heads, T, C)
    value_weight = attention.v_proj.weight.view(heads, -1, C)
    value = torch.einsum("phtc,hdc->pthd", mixed, value_weight).reshape(P, T, -1)
    attended: Tensor = _out(attention)(value + attention.v_proj.bias)
    return attended


def _from_image(
    attention: Any, queries: Tensor, keys: Tensor, values: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute the attention of the image (1 or P, N, C) to tokens (P, T, C), as two factors.

    Returns
    -------
    weights : (P, heads * T, N) tensor
    values : (P, heads * T, C) tensor
        ``weights.mT @ values``, (P, N, C), is the update of the image's tokens.
    """
    (P, T, C), heads = keys.shape, attention.num_attention_heads
    key = attention.k_proj(keys).view(P, T, heads, -1) * attention.scaling
    folded = torch.einsum("pthd,hdc->phtc", key, attention.q_proj.weight.view(heads, -1, C))
    bias = torch.einsum("pthd,hd->pht", key, attention.q_proj.bias.view(heads, -1))
    scores = _product(folded.reshape(P, heads * T, C), queries.transpose(1, 2))
    weights = (scores.view(P, heads, T, -1) + bias[..., None]).softmax(dim=2)
    value = attention.v_proj(values).view(P, T, heads, -1)
    out = _out(attention)
    folded = torch.einsum("pthd,chd->phtc", value, out.weight.view(C, heads, -1))
    # The weights of each head sum to 1, so each head adds an equal part of the bias.
    folded = folded + out.bias / heads
    return weights.view(P, heads * T, -1), folded.reshape(P, heads * T, C)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Multiply (P, m, k) by (P, k, n), or by one (1, k, n) for all."""
    if len(b) == len(a):
        return torch.bmm(a, b)
    return (a.reshape(-1, a.shape[2]) @ b[0]).view(*a.shape[:2], -1)


def _out(attention: Any) -> Any:
    return attention.out_proj if hasattr(attention, "out_proj") else attention.o_proj


def upscale(decoder: Any, image: Tensor, grid: tuple[int, int], high: tuple[Tensor, ...]) -> Tensor:
    """Upscale the image's tokens four times along each side.

    Parameters
    ----------
    decoder : SamMaskDecoder or Sam2MaskDecoder
    image : (P, N, C) tensor
        Tokens after the transformer.
    grid : (h, w)
        Rows and columns of the tokens; N = h w.
    high : tuple of tensors
        High-resolution features of SAM 2's encoder, see `Embedding.high`; empty for SAM.

    Returns
    -------
    (P, 16 N, C / 8) tensor
        Pixel features in a blockwise order, which `unfold` resolves.
    """
    x = _transposed(decoder.upscale_conv1, image)
    if high:
        x = x + _in_blocks(high[1], grid, 2)
    norm = decoder.upscale_layer_norm
    x = functional.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
    x = _transposed(decoder.upscale_conv2, decoder.activation(x))
    if high:
        x = x + _in_blocks(high[0], grid, 4)
    upscaled: Tensor = decoder.activation(x)
    return upscaled


def unfold(masks: Tensor, grid: tuple[int, int]) -> Tensor:
    """Rearrange masks (P, M, 16 N) from the pixel order of `upscale` to (P, M, 4 h, 4 w)."""
    (P, M, _), (h, w) = masks.shape, grid
    blocks = masks.view(P, M, h, w, 2, 2, 2, 2).permute(0, 1, 2, 4, 6, 3, 5, 7)
    return blocks.reshape(P, M, 4 * h, 4 * w)


def _transposed(convolution: Any, x: Tensor) -> Tensor:
    """Apply a transposed convolution with kernel and stride 2: (P, n, C) to (P, 4 n, D)."""
    inputs, outputs = convolution.weight.shape[:2]
    weight = convolution.weight.permute(2, 3, 1, 0).reshape(4 * outputs, inputs)
    return functional.linear(x, weight, convolution.bias.repeat(4)).view(len(x), -1, outputs)


def _in_blocks(features: Tensor, grid: tuple[int, int], times: int) -> Tensor:
    """Rearrange features (1, D, t h, t w) to the pixel order of `upscale`, (1, t t N, D)."""
    (h, w), channels = grid, features.shape[1]
    if times == 2:
        blocks = features.view(channels, h, 2, w, 2).permute(1, 3, 2, 4, 0)
    else:
        blocks = features.view(channels, h, 2, 2, w, 2, 2).permute(1, 4, 2, 5, 3, 6, 0)
    return blocks.reshape(1, -1, channels)
