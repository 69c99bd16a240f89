"""How models of all kinds are opened: from a folder, a file, or the hub.

A folder is one of transformers (``config.json``, weights), with ``unsam.json`` beside: our settings
and the history of the weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from unsam_cli.backbones.folder_config import read_about
from unsam_cli.backbones.vit_hub import fetch_folder, hub_id
from unsam_cli.errors import CheckpointError, MissingInputError
from unsam_cli.io.files import file_identity, refuse_special

ABOUT = "unsam.json"


def open_model(
    checkpoint: str,
    *,
    folder: Callable[[Path, Mapping[str, Any]], Any],
    file: Callable[[Path], Any],
    version: int,
    fix: str,
) -> Any:
    """Open a model, which then has the `history` and the `identity` of its weights.

    Parameters
    ----------
    checkpoint : str
        A folder, a file, or a hub id.
    folder, file : callable
        Make the model of a folder, and of what its ``unsam.json`` says, or of an original file.
    version : int
        Of ``unsam.json``.
    fix : str
        What to give instead of a checkpoint that does not exist.

    Raises
    ------
    MissingInputError
        There is no such file or folder.
    WeightsUnavailableError
        It is neither in the cache nor available from the hub.
    CheckpointError
        It is damaged, incomplete, or something else.
    """
    path, repository, identity = Path(checkpoint), hub_id(checkpoint), ""
    refuse_special(path, CheckpointError)
    if path.is_file():
        model = file(path)
        model.identity = file_identity(path)
        return model
    if not path.is_dir():
        if repository is None:
            raise MissingInputError(f"{checkpoint}: no such checkpoint: {fix}")
        meant = f"check the path if {checkpoint} is meant to be a folder"
        path, identity = fetch_folder(repository, fix=meant)
    about = read_about(path / ABOUT, version)
    model = folder(path, about)
    model.history, model.identity = about["history"], identity or folder_identity(path)
    return model


def folder_identity(folder: Path) -> str:
    """Return the hash of the weights, or of the hashes of their parts."""
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")])
    identities = [file_identity(path) for path in files]
    if len(identities) == 1:
        return identities[0]
    return f"sha256:{hashlib.sha256(''.join(identities).encode()).hexdigest()[:16]}"
