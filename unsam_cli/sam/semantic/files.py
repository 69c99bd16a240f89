"""UnSAM's promptable model in files: published checkpoints, and model folders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from math import isqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unsam_cli.backbones.checkpoints import check_fit
from unsam_cli.backbones.folder_config import building
from unsam_cli.backbones.soundness import state_size
from unsam_cli.backbones.wrappers import unwrap
from unsam_cli.errors import CheckpointError
from unsam_cli.sam.semantic.config import GROUPS, SemanticConfig
from unsam_cli.sam.semantic.network import SemanticNetwork
from unsam_cli.sam.semantic.weights import (
    OPTIONAL,
    extras,
    from_published,
    repeats,
    to_published,
)

MODEL_TYPE = "semantic-sam"
FIX = "give the promptable checkpoint of UnSAM"
_PREDICTOR = "sem_seg_head.predictor."
_OWN = tuple(
    f"{_PREDICTOR}{name}"
    for name in (
        "_bbox_embed.",
        "bbox_embed.",
        "decoder.",
        "iou_prediction_head.",
        "label_enc.",
        "mask_tokens.",
        "pb_embedding.",
    )
)
"""Names that no whole-image checkpoint has; any of them is enough, since others may be missing."""
_SOME = (
    "backbone.patch_embed.norm.weight",
    "sem_seg_head.pixel_decoder.mask_features.weight",
    *(
        f"{_PREDICTOR}{name}.weight"
        for name in (
            "_bbox_embed.layers.0",
            "bbox_embed.0.layers.0",
            "decoder.norm",
            "iou_prediction_head.layers.0",
            "label_enc",
            "mask_tokens",
            "pb_embedding",
        )
    ),
)
"""Names by which the network is found inside wrappers."""
_PREFIXES = ("module.", "_orig_mod.", "model.")
_MOST = 2**40
"""Number of values that no network has; those of a checkpoint are compared before they are made."""


def is_semantic(content: Mapping[Any, Any]) -> bool:
    """Whether the content of a file is a promptable checkpoint of UnSAM, perhaps incomplete."""
    return any(name.startswith(_OWN) for name in _state(content))


def read_semantic(content: Mapping[Any, Any], path: Path) -> SemanticNetwork:
    """Create the network of a promptable checkpoint of UnSAM.

    Parameters
    ----------
    content : mapping
        Content of the file, for which :func:`is_semantic` is true.
    path : Path
        The file, for error messages.

    Raises
    ------
    CheckpointError
        Weights are missing, unexpected, of another shape or type, or not finite, or a weight that
        the file stores several times has several values.
    """
    state = _state(content, path)
    config = _sizes(state)
    wanted = _wanted(config, path, _MOST)
    again, others = repeats(wanted, config), extras(config)
    optional = {name: state[name] for name in OPTIONAL if name in state}
    copies = {name: wanted[first] for name, first in again.items()}
    check_fit({**wanted, **copies, **others, **optional}, state, path, FIX)
    _check_copies(state, again, others, path)
    return _filled(config, state, path)


def from_folder(base: Mapping[str, Any], state: Mapping[str, Any], path: Path) -> SemanticNetwork:
    """Create the network of a model folder.

    Parameters
    ----------
    base : mapping
        Result of :func:`describe`.
    state : mapping of str to tensor
        Result of `to_published`.
    path : Path
        File of the weights, for error messages.

    Raises
    ------
    CheckpointError
        The sizes are invalid, or the weights do not fit.
    """
    try:
        sizes: dict[str, Any] = {f.name: base[f.name] for f in fields(SemanticConfig)}
        numbers: Any = {k: tuple(v) if isinstance(v, list) else v + 0 for k, v in sizes.items()}
        config = SemanticConfig(**numbers)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path.parent / 'config.json'}: sizes of the network are missing or no numbers "
            f"({error}): copy the whole folder"
        ) from error
    check_fit(_wanted(config, path, state_size(state)), state, path, "copy the whole folder again")
    return _filled(config, state, path)


def describe(config: SemanticConfig) -> dict[str, Any]:
    """Return the sizes of a network for ``config.json``."""
    return {"model_type": MODEL_TYPE, **asdict(config)}


def _state(content: Mapping[Any, Any], path: Path | None = None) -> dict[str, Any]:
    return unwrap(content, _SOME, path, prefixes=_PREFIXES)


def _sizes(state: Mapping[str, Any]) -> SemanticConfig:
    """Read the widths off the weights; what cannot be read is as published.

    The numbers of layers are fixed, so that a file without the last ones is refused.
    """
    usual = SemanticConfig()

    def shape(name: str, *otherwise: int) -> tuple[int, ...]:
        found = state.get(name)
        right = isinstance(found, Tensor) and found.ndim == len(otherwise) and 0 not in found.shape
        return tuple(found.shape) if right and isinstance(found, Tensor) else otherwise

    stages = range(len(usual.depths))
    tables = [
        shape(
            f"backbone.layers.{s}.blocks.0.attn.relative_position_bias_table",
            (2 * usual.window - 1) ** 2,
            usual.heads[s],
        )
        for s in stages
    ]
    pixels = "sem_seg_head.pixel_decoder.transformer."
    return SemanticConfig(
        embed=shape("backbone.patch_embed.norm.weight", usual.embed)[0],
        # The larger Swin transformers have 18 blocks in the third stage.
        depths=(2, 2, 18, 2)
        if "backbone.layers.2.blocks.6.norm1.weight" in state
        else usual.depths,
        heads=tuple(heads for _, heads in tables),
        window=(isqrt(tables[0][0]) + 1) // 2,
        hidden=shape(f"{pixels}level_embed", 4, usual.hidden)[1],
        feedforward=shape(f"{pixels}encoder.layers.0.linear1.bias", usual.feedforward)[0],
        masks=shape(f"{_PREDICTOR}mask_tokens.weight", usual.masks, usual.hidden)[0],
    )


def _wanted(config: SemanticConfig, path: Path, size: int) -> dict[str, Tensor]:
    """Return the published names of all weights, with tensors of their shapes but no values."""
    with building(path, size), torch.device("meta"):
        if config.hidden % GROUPS:
            raise ValueError(f"a width of {config.hidden} is not a multiple of {GROUPS}")
        return to_published(SemanticNetwork(config).state_dict())


def _filled(config: SemanticConfig, state: Mapping[str, Tensor], path: Path) -> SemanticNetwork:
    """Create a network with the weights of a checkpoint, under their published names."""
    with building(path, state_size(state)):
        network = SemanticNetwork(config)
    found = from_published(network.state_dict(), state)
    network.load_state_dict(found, strict=False)  # early releases of transformers store indices
    return network


def _check_copies(
    state: Mapping[str, Tensor],
    again: Mapping[str, str],
    others: Mapping[str, Tensor],
    path: Path,
) -> None:
    for name, first in again.items():
        if not torch.equal(state[name], state[first]):
            raise CheckpointError(
                f"{path}: weights do not fit the model: {name} differs from {first}, which it "
                f"must repeat: {FIX}"
            )
    for name, index in others.items():
        if index.device.type != "meta" and not torch.equal(state[name].long(), index):
            raise CheckpointError(
                f"{path}: weights do not fit the model: {name} is not that of square windows: {FIX}"
            )
