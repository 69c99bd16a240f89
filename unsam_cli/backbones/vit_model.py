"""From a model name to a timm model that can give patch features."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import timm
import torch

from unsam_cli.backbones.base import Facet
from unsam_cli.backbones.vit_facets import check_model
from unsam_cli.backbones.vit_hub import RANDOM, fetch_weights, find_source
from unsam_cli.backbones.vit_weights import identify, load_weights
from unsam_cli.errors import UsageError


def create_model(
    name: str, *, weights: str | None, facet: Facet, seed: int, **options: Any
) -> tuple[Any, str]:
    """Create a timm model with its weights, in float32 on the CPU.

    Parameters
    ----------
    name : str
        A timm name, with or without its pretrained tag.
    weights : str, optional
        As in `unsam_cli.backbones.registry.create_backbone`.
    facet : {"key", "query", "value", "token"}
        What will be taken from the model.
    seed : int
        Of random weights.
    **options
        Passed on to the model, ``depth=2`` for instance.

    Returns
    -------
    model : timm.models.VisionTransformer or timm.models.Eva
        In evaluation mode; takes any image size that is a multiple of its patch size.
    identity : str
        What the weights are.
    """
    source = find_source(name, weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _build(name, options)
    check_model(model, name, facet)
    if weights == RANDOM:
        identity = f"random:{seed}"
    elif isinstance(source, Path):
        identity = identify(source)
        load_weights(model, source)
    else:
        path, identity = fetch_weights(name, source)
        load_weights(model, path)
    return model.eval().requires_grad_(False), identity


def _build(name: str, options: dict[str, Any]) -> Any:
    """Make a timm model without pretrained weights; raise `UsageError` if it cannot be."""
    if name.startswith(("hf-hub:", "hf_hub:", "local-dir:")):
        raise UsageError(
            f"{name!r} is not a model name: give timm's name as --backbone and this as --weights"
        )
    try:
        return timm.create_model(
            name, pretrained=False, num_classes=0, dynamic_img_size=True, **options
        )
    except TypeError as error:
        if "dynamic_img_size" not in str(error):
            raise
        raise UsageError(
            f"{name} has no patch tokens at free image sizes: use --backbone builtin or a plain "
            "vision transformer of timm (DINO, DINOv2, DINOv3, MAE, CLIP, EVA, DeiT)"
        ) from error
    except RuntimeError as error:
        if not any(s in str(error) for s in ("Unknown model", "Invalid pretrained tag")):
            raise
        near = difflib.get_close_matches(name, timm.list_models(pretrained=True), n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "see timm.list_models('vit*')"
        raise UsageError(f"unknown backbone {name!r}: {hint}") from error
