"""Groups of weights by learning rate and weight decay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from unsam_cli.training.recipe import ParameterSettings


def parameter_groups(
    module: nn.Module, backbone: Sequence[str], settings: ParameterSettings
) -> list[dict[str, Any]]:
    """Group the trained weights by learning rate and weight decay.

    Weights of normalisations and embeddings have no weight decay.

    Parameters
    ----------
    module : nn.Module
        Module that is trained; weights that need no gradient are left out.
    backbone : sequence of str
        Prefixes of the names of the backbone's weights.
    settings : ParameterSettings
        Learning rate of the backbone and weight decay.

    Returns
    -------
    list of dict
        Groups with ``params``, ``lr_scale`` and ``weight_decay``, in the order of the module.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for prefix, part in module.named_modules():
        for name, parameter in part.named_parameters(recurse=False):
            if parameter.requires_grad:
                inside = f"{prefix}.{name}".startswith(tuple(backbone))
                scale = settings.backbone_lr_scale if inside else 1.0
                decay = settings.weight_decay if _decays(part, name) else 0.0
                groups.setdefault((scale, decay), []).append(parameter)
    return [
        {"params": parameters, "lr_scale": scale, "weight_decay": decay}
        for (scale, decay), parameters in groups.items()
    ]


def _decays(part: nn.Module, name: str) -> bool:
    """Return whether a weight belongs neither to a normalisation nor to an embedding."""
    embedding = isinstance(part, nn.Embedding) or "embed" in name or "token" in name
    return not embedding and "norm" not in type(part).__name__.lower()
