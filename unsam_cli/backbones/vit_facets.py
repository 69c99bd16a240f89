"""The forward pass of a timm vision transformer up to one projection of one block.

No hooks are used: the blocks are called one by one, and in the requested block only what the facet
needs is computed. For ``key``, ``query`` and ``value``, that saves the attention and the MLP of
the block.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from timm.layers import Attention, AttentionRope, PatchEmbed
from timm.models.eva import Eva, EvaAttention, EvaBlock
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor
from torch.nn import functional

from unsam_cli.backbones.base import Facet
from unsam_cli.errors import UsageError

_PART = {"query": 0, "key": 1, "value": 2}  # the order in a fused projection


def check_model(model: Any, name: str, facet: Facet) -> None:
    """Raise `UsageError` unless `patch_tokens` can compute `facet` with `model`."""
    plain = isinstance(model, (VisionTransformer, Eva))
    if not plain or not isinstance(model.patch_embed, PatchEmbed):
        raise UsageError(
            f"{name} has no patch tokens to extract: use a plain vision transformer of "
            "timm (DINO, DINOv2, DINOv3, MAE, CLIP, EVA, DeiT), or builtin in extract-features"
        )
    block = model.blocks[0]
    plain = isinstance(block, (Block, EvaBlock)) and isinstance(
        block.attn, (Attention, EvaAttention, AttentionRope)
    )
    if facet != "token" and not plain:
        raise UsageError(
            f"the blocks of {name} ({type(block).__name__}) have no plain {facet} projection: "
            "use --facet token"
        )


def facet_dim(model: Any, facet: Facet, layer: int) -> int:
    """Return the number of channels of a facet; keys and values can be narrower than tokens."""
    if facet == "token":
        return int(model.embed_dim)
    weight, _ = _projection(model.blocks[layer].attn, facet)
    return int(weight.shape[0])


def patch_tokens(model: Any, images: Tensor, *, facet: Facet, layer: int) -> Tensor:
    """Compute one facet of the patch tokens of one block.

    Parameters
    ----------
    model : timm VisionTransformer or Eva
        Created with ``dynamic_img_size=True``, in evaluation mode.
    images : (B, 3, H, W) float tensor
        Normalised; H and W are multiples of the patch size.
    facet : {"key", "query", "value", "token"}
        ``token`` is the output of the block, without the final normalisation of the model. The
        others are the linear projections of the block's attention input (after its first
        normalisation), bias included, heads concatenated.
    layer : int
        0 to depth - 1; no later block is computed.

    Returns
    -------
    (B, H / p, W / p, C) tensor of the dtype of `images`
        Features of the patches; class, register and distillation tokens are left out.

    Notes
    -----
    Projections are taken before the rotation of rotary positions and before query-key
    normalisation. Both only affect how two tokens are compared inside one head, and the rotation
    would make equal content at two positions differ. In models without either, ``key`` is the key
    of DINO's attention [1]_ that MaskCut uses [2]_.

    Position embeddings are interpolated as in timm, bicubically with antialiasing. DINO's own code
    interpolates without antialiasing (with another bicubic kernel, a = -0.75 instead of -0.5) and
    adds 0.1 to the target size.

    References
    ----------
    .. [1] M. Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", 2021.
    .. [2] X. Wang et al., "Cut and Learn for Unsupervised Object Detection and Instance
       Segmentation", 2023, section 3.1.
    """
    batch, _, height, width = images.shape
    h, w = model.patch_embed.dynamic_feat_size((height, width))
    tokens, ropes = _embed(model, images)
    whole = layer + 1 if facet == "token" else layer
    for block, rope in zip(model.blocks[:whole], ropes, strict=False):
        tokens = block(tokens) if rope is None else block(tokens, rope=rope)
    features = tokens[:, model.num_prefix_tokens :]
    if facet != "token":
        block = model.blocks[layer]
        features = functional.linear(block.norm1(features), *_projection(block.attn, facet))
    return features.reshape(batch, int(h), int(w), -1)


def _embed(model: Any, images: Tensor) -> tuple[Tensor, Iterable[Tensor | None]]:
    """Return all tokens (B, N, C) before the first block, and each block's rotary embedding."""
    tokens = model._pos_embed(model.patch_embed(images))
    ropes: Iterable[Tensor | None] = itertools.repeat(None)
    if isinstance(tokens, tuple):
        tokens, rope = tokens
        # "mixed" rotary positions are learnt per block and come stacked
        ropes = rope if getattr(model, "rope_mixed", False) else itertools.repeat(rope)
    return model.norm_pre(tokens), ropes


def _projection(attention: Any, facet: Facet) -> tuple[Tensor, Tensor | None]:
    """Return weight (C, D) and bias (C,) of one projection, fused or separate."""
    part = _PART[facet]
    if attention.qkv is None:
        layer = (attention.q_proj, attention.k_proj, attention.v_proj)[part]
        return layer.weight, layer.bias
    weight: Tensor = attention.qkv.weight.chunk(3)[part]
    if isinstance(attention, EvaAttention):
        bias: Tensor | None = (attention.q_bias, attention.k_bias, attention.v_bias)[part]
    else:
        bias = None if attention.qkv.bias is None else attention.qkv.bias.chunk(3)[part]
    return weight, bias
