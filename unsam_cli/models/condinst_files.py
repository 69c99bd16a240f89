"""Folders of CondInst: ``config.json`` and ``model.safetensors``, laid out as in transformers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from unsam_cli.backbones.checkpoints import check_fit, read_checkpoint
from unsam_cli.backbones.folder_config import building, read_json
from unsam_cli.backbones.pretrained import share_weights
from unsam_cli.backbones.soundness import state_size
from unsam_cli.errors import CheckpointError
from unsam_cli.models.backbone_weights import load_backbone
from unsam_cli.models.condinst import UNET, CondInst, CondInstConfig
from unsam_cli.models.networks import stages
from unsam_cli.models.settings import CONDINST, SegmenterConfig

_FIX = "give a folder of unsam train"


def create_condinst(config: SegmenterConfig, seed: int) -> tuple[CondInst, str]:
    """Create a CondInst with random weights, and pretrained ones in a timm backbone.

    Parameters
    ----------
    config : SegmenterConfig
        What to create.
    seed : int
        Seed of all random weights.

    Returns
    -------
    network : CondInst
    identity : str
        Identity of the backbone's weights, see `unsam_cli.models.backbone_weights.load_backbone`.

    Raises
    ------
    UsageError
        The backbone is unknown, or has no features at strides 4, 8, 16 and 32.
    CheckpointError, MissingInputError, WeightsUnavailableError
        As `unsam_cli.models.backbone_weights.load_backbone`.
    """
    small = config.backbone == UNET
    described = CondInstConfig.of_width(
        config.hidden,
        backbone=config.backbone,
        out_indices=() if small else tuple(stages(config.backbone)),
        queries=config.queries,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = CondInst(described)
        if small:
            return network, f"random:{seed}"
        return network, load_backbone(network.backbone, config, None, seed)


def load_condinst(folder: Path) -> CondInst:
    """Load a CondInst from a folder onto the CPU.

    Raises
    ------
    CheckpointError
        The folder is damaged or incomplete, or its configuration is invalid.
    """
    path = folder / "model.safetensors"
    content = read_json(folder / "config.json", _FIX)
    if not path.exists():
        raise CheckpointError(f"{path}: no such file: {_FIX}")
    state = read_checkpoint(path)
    with building(folder, state_size(state)), torch.device("meta"):
        network = CondInst(_config(content))
    check_fit(network.state_dict(), state, folder, "download or copy it again")
    # Copied: otherwise the last bits of results depend on the alignment of tensors in the file.
    network = network.to_empty(device="cpu")
    network.load_state_dict(state)
    return network


def _config(content: Mapping[str, Any]) -> CondInstConfig:
    # Folders that were written before the stem could be widened do not name it.
    content = {"stem": CondInstConfig.stem, **content}
    values = {field.name: content[field.name] for field in fields(CondInstConfig)}
    numbers = [values[name] for name in ("hidden", "embedding", "queries", "stem")]
    numbers += values["out_indices"]
    if not isinstance(values["backbone"], str) or any(type(n) is not int for n in numbers):
        raise ValueError(f"settings {values}")
    return CondInstConfig(**{**values, "out_indices": tuple(values["out_indices"])})


def save_condinst(network: CondInst, folder: Path, state: Mapping[str, Tensor]) -> None:
    """Write the configuration and `state`, the weights, into an existing folder."""
    content: dict[str, Any] = {"model_type": CONDINST, **asdict(network.config)}
    text = json.dumps(content, indent=2) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")
    save_file(dict(state), folder / "model.safetensors", metadata={"format": "pt"})
    share_weights(folder)
