"""Find out which kind of network a checkpoint holds, without loading it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors
import torch

from unsam_cli.backbones.vit_hub import fetch_folder, hub_id
from unsam_cli.errors import CheckpointError, UnsamError
from unsam_cli.io.files import open_regular, refuse_special
from unsam_cli.sam.loading import FORMAT
from unsam_cli.sam.meta import original_state
from unsam_cli.sam.semantic.files import is_semantic

_PARTS = ("image_encoder.", "prompt_encoder.")
"""Prefixes of the names of tensors in original checkpoints of SAM."""


def is_promptable(checkpoint: str) -> bool:
    """Whether a checkpoint is promptable, as SAM is; otherwise it is a whole-image segmenter.

    Parameters
    ----------
    checkpoint : str
        A folder, a file, or a hub id.

    Returns
    -------
    bool
        False also for a checkpoint that cannot be read: the function that loads it reports this.

    Raises
    ------
    CheckpointError
        The path is a pipe, a socket or a device.
    WeightsUnavailableError
        A hub id that is not in the cache and cannot be downloaded.
    """
    path, repository = Path(checkpoint), hub_id(checkpoint)
    refuse_special(path, CheckpointError)
    if path.is_file():
        content = _content(path)
        return is_semantic(content) or any(
            name.startswith(_PARTS) for name in original_state(content)
        )
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


def _content(path: Path) -> dict[Any, Any]:
    """Names of the tensors of a file, without reading them; none if it cannot be read."""
    try:
        if path.suffix == ".safetensors":
            with safetensors.safe_open(path, "pt") as file:
                return dict.fromkeys(file.keys())
        content = torch.load(path, map_location="meta", weights_only=True)
    # The function that loads the file reports what is wrong with it.
    except Exception:
        return {}
    return content if isinstance(content, dict) else {}
