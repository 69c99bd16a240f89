"""Open models of all kinds from a folder, a file or the hub.

A model folder has the files of transformers (``config.json``, weights), and ``unsam.json`` with our
settings and the history of the weights.
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
    """Open a model and set the `history` and the `identity` of its weights.

    Parameters
    ----------
    checkpoint : str
        A folder, a file, or a hub id.
    folder : callable
        Creates the model from a folder and the content of its ``unsam.json``.
    file : callable
        Creates the model from an original checkpoint file.
    version : int
        Supported version of ``unsam.json``.
    fix : str
        What to give instead of a checkpoint that does not exist; the end of the message.

    Returns
    -------
    object
        The model; its `identity` is a hash, or a hub id with its commit.

    Raises
    ------
    MissingInputError
        The file or folder does not exist.
    WeightsUnavailableError
        The model is neither in the cache nor available from the hub.
    CheckpointError
        The model is damaged, incomplete or of another kind.
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
    """Return the hash of a folder's weights file, or of the hashes of several files."""
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")])
    identities = [file_identity(path) for path in files]
    if len(identities) == 1:
        return identities[0]
    return f"sha256:{hashlib.sha256(''.join(identities).encode()).hexdigest()[:16]}"
