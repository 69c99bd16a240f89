"""Which kind of network a checkpoint holds, told without loading it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import safetensors
import torch

from unsam_cli.backbones.checkpoints import unwrap
from unsam_cli.backbones.vit_hub import fetch_folder, hub_id
from unsam_cli.errors import CheckpointError, UnsamError
from unsam_cli.io.files import open_regular, refuse_special
from unsam_cli.sam.loading import FORMAT

_PARTS = ("image_encoder.", "prompt_encoder.")
"""Names of SAM's parts in its original checkpoints."""


def is_promptable(checkpoint: str) -> bool:
    """Whether a checkpoint is a SAM or a relative; else a whole-image segmenter is expected.

    Parameters
    ----------
    checkpoint : str
        A folder, a file, or a hub id. What cannot be read is left to whoever loads it.

    Raises
    ------
    WeightsUnavailableError
        A hub id that is neither in the cache nor to be had from the hub.
    """
    path, repository = Path(checkpoint), hub_id(checkpoint)
    refuse_special(path, CheckpointError)
    if path.is_file():
        return any(str(name).startswith(_PARTS) for name in _names(path))
    if not path.is_dir() and repository is not None:
        path, _ = fetch_folder(
            repository, fix=f"check the path if {checkpoint} is meant to be a folder"
        )
    try:
        with open_regular(path / "config.json") as stream:
            kind = json.loads(stream.read())["model_type"]
    except (OSError, UnsamError, ValueError, KeyError, TypeError):
        return False
    return isinstance(kind, str) and (kind == FORMAT or kind.startswith("sam"))


def _names(path: Path) -> Iterable[object]:
    """Names of the tensors of a file, without reading them; none if it cannot be read."""
    try:
        if path.suffix == ".safetensors":
            with safetensors.safe_open(path, "pt") as file:
                return list(file.keys())
        content = torch.load(path, map_location="meta", weights_only=True)
    # Whatever is wrong with the file is told by whoever loads it.
    except Exception:
        return []
    return unwrap(content) if isinstance(content, dict) else []
