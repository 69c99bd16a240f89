"""From a model name to a timm model that has patch features."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

import timm
import torch

from unsam_cli.backbones.base import Facet
from unsam_cli.backbones.vit_facets import check_model
from unsam_cli.backbones.vit_hub import RANDOM, fetch_weights, find_source
from unsam_cli.backbones.vit_weights import load_weights
from unsam_cli.errors import UsageError
from unsam_cli.io.files import file_identity

_SIZES = {"s": "small", "b": "base", "l": "large", "7b": "7b", "g": "giant"}
_PUBLISHED = [
    (r"dinov2-(small|base|large|giant)", "vit_{}_patch14_dinov2.lvd142m"),
    (r"dinov2-with-registers-(small|base|large|giant)", "vit_{}_patch14_reg4_dinov2.lvd142m"),
    (r"dino-vit([sb])(\d+)", "vit_{}_patch{}_224.dino"),
    (r"dinov3-vit([sbl])16-pretrain-lvd1689m", "vit_{}_patch16_dinov3.lvd1689m"),
    (r"vit-mae-(base|large)", "vit_{}_patch16_224.mae"),
]
"""Names of vision transformers on the hub, and timm's names for the same weights."""


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
        Kind of the features that the model must support.
    seed : int
        Seed of random weights.
    **options
        Passed on to the model, for instance ``depth=2``.

    Returns
    -------
    model : timm.models.VisionTransformer or timm.models.Eva
        In evaluation mode and frozen; accepts all image sizes that are multiples of its patch size.
    identity : str
        Identity of the weights: ``random:SEED``, a hash, or a hub id with its commit.

    Raises
    ------
    UsageError
        The name is unknown, or the model does not have such features.
    CheckpointError, MissingInputError, WeightsUnavailableError
        The weights do not fit, do not exist, or cannot be downloaded.
    """
    source = find_source(name, weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _build(name, options)
    check_model(model, name, facet)
    if weights == RANDOM:
        identity = f"random:{seed}"
    elif isinstance(source, Path):
        identity = file_identity(source)
        load_weights(model, source)
    else:
        path, identity = fetch_weights(name, source)
        load_weights(model, path)
    return model.eval().requires_grad_(False), identity


def _build(name: str, options: dict[str, Any]) -> Any:
    """Create a timm model without pretrained weights; raise `UsageError` if that is impossible."""
    if ":" in name or "/" in name:
        raise UsageError(
            f"{name!r} is not a model name: give a timm name as --backbone, and its weights as a "
            f"hub id or a file{_hint(name)}"
        )
    try:
        return timm.create_model(
            name, pretrained=False, num_classes=0, dynamic_img_size=True, **options
        )
    # timm and its networks raise errors of any class; only the name can be the cause.
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        if any(s in text for s in ("Unknown model", "Invalid pretrained tag")):
            raise UsageError(f"unknown backbone {name!r}{_hint(name)}") from error
        reason = "" if "dynamic_img_size" in text else f" ({text})"
        raise UsageError(
            f"{name} has no patch tokens for arbitrary image sizes{reason}: use a plain "
            "vision transformer of timm (DINO, DINOv2, DINOv3, MAE, CLIP, EVA, DeiT), or "
            "builtin in extract-features"
        ) from error


def _hint(name: str) -> str:
    """Return the end of a message that suggests similar names of timm, also for hub ids."""
    wanted = name.rpartition(":")[2].rpartition("/")[2]
    for pattern, renamed in _PUBLISHED:
        found = re.fullmatch(pattern, wanted)
        if found:
            size = _SIZES.get(found[1], found[1])
            wanted = renamed.format(size, *found.groups()[1:])
    listed = timm.list_models(pretrained=True)
    if timm.is_model(wanted.partition(".")[0]):
        near = [wanted]
    else:
        near = difflib.get_close_matches(wanted, listed, n=3)
    if not near:
        return ": see timm.list_models('vit*')"
    return f": did you mean {' or '.join(near)}?"
