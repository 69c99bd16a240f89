"""Weights of a timm vision transformer under the names of EoMT."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from unsam_cli.errors import UsageError

_RULES = [
    (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
    (r"^norm\.", "layernorm."),
    (r"^blocks\.(\d+)\.attn\.proj\.", r"layers.\1.attention.out_proj."),
    (r"^blocks\.(\d+)\.ls([12])\.gamma$", r"layers.\1.layer_scale\2.lambda1"),
    (r"^blocks\.(\d+)\.(norm[12]|mlp\.fc[12])\.", r"layers.\1.\2."),
]


def eomt_state(vit: Any, name: str) -> dict[str, Tensor]:
    """Return a transformer's weights under the names of ``EomtForUniversalSegmentation``.

    Parameters
    ----------
    vit : timm VisionTransformer
        Its position embeddings must have the grid of the EoMT.
    name : str
        Name of the transformer, for error messages.

    Returns
    -------
    dict of tensors
        Weights of the transformer; the parts that only EoMT has are not included.

    Raises
    ------
    UsageError
        The transformer has parts that EoMT lacks, or no class token or position embeddings.
    """
    given = {k: v for k, v in vit.state_dict().items() if not k.startswith(("head", "fc_norm"))}
    state = _tokens(given, vit.patch_embed.num_patches, name)
    for key, tensor in given.items():
        if match := re.match(r"^blocks\.(\d+)\.attn\.qkv\.(weight|bias)$", key):
            for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                state[f"layers.{match[1]}.attention.{letter}_proj.{match[2]}"] = part.clone()
            continue
        renamed = [re.sub(p, target, key) for p, target in _RULES if re.match(p, key)]
        if not renamed:
            raise UsageError(
                f"{name} has {key}, which EoMT does not: choose a plain vision transformer "
                "(DINO, DINOv2, MAE, DeiT)"
            )
        state[renamed[0]] = tensor
    return state


def _tokens(given: dict[str, Tensor], patches: int, name: str) -> dict[str, Tensor]:
    """Remove class token, register tokens and position embeddings from `given` and return them.

    EoMT has position embeddings of patches only. Where those of the other tokens were learnt, they
    are added to these tokens.
    """
    if "pos_embed" not in given or "cls_token" not in given:
        raise UsageError(f"{name} has no class token or no position embeddings, which EoMT needs")
    places = given.pop("pos_embed")[0]
    prefix = [given.pop(key) for key in ("cls_token", "reg_token") if key in given]
    if len(places) > patches:
        sizes = [token.shape[1] for token in prefix]
        learnt = torch.split_with_sizes(places[:-patches], sizes)
        prefix = [token + place for token, place in zip(prefix, learnt, strict=True)]
    names = ("embeddings.cls_token", "embeddings.register_tokens")
    tokens = dict(zip(names, prefix, strict=False))
    return {**tokens, "embeddings.position_embeddings.weight": places[-patches:]}
