"""Groups of weights by learning rate and weight decay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from unsam_cli.training.recipe import ParameterSettings


def parameter_groups(
    module: nn.Module, backbone: Sequence[str], settings: ParameterSettings
) -> list[dict[str, Any]]:
    """Group the weights that learn.

    Weights of normalisations and embeddings do not decay.

    Parameters
    ----------
    module : nn.Module
        What is trained.
    backbone : sequence of str
        What names of weights of the backbone begin with.
    settings : ParameterSettings
        Learning rate of the backbone, decay of the rest.

    Returns
    -------
    list of dict
        ``params``, ``lr_scale``, ``weight_decay``; in the order of the module.
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
    """Whether a weight is part of a layer, neither of a normalisation nor an embedding."""
    embedding = isinstance(part, nn.Embedding) or "embed" in name or "token" in name
    return not embedding and "norm" not in type(part).__name__.lower()
