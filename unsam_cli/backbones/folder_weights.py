"""The weights of a model folder of transformers: one file, or several with an index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from unsam_cli.backbones.checkpoints import read_checkpoint
from unsam_cli.backbones.folder_config import read_json
from unsam_cli.backbones.soundness import check_kind
from unsam_cli.errors import CheckpointError

_NAMES = ("model.safetensors", "pytorch_model.bin")
"""Names in the order in which transformers looks for them; an index ends in ``.index.json``."""


def weight_files(folder: Path) -> list[Path]:
    """Return the files with the weights of a folder.

    Raises
    ------
    CheckpointError
        There are none, or an index is damaged or names missing files.
    """
    for name in _NAMES:
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.is_file():
            return _parts(index)
    raise CheckpointError(
        f"{folder}: has no weights ({' or '.join(_NAMES)}): copy the whole folder"
    )


def read_weights(folder: Path, files: list[Path]) -> dict[str, Tensor]:
    """Read the tensors of several files of a folder into one state dict, on the CPU.

    Raises
    ------
    CheckpointError
        A file is damaged, or contains code or anything but tensors.
    """
    state: dict[str, Any] = {}
    for path in files:
        state |= read_checkpoint(path)
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor):
            check_kind(name, tensor, folder)
    return {str(name): tensor for name, tensor in state.items()}


def _parts(index: Path) -> list[Path]:
    listed = read_json(index, "download or copy it again").get("weight_map")
    if not isinstance(listed, dict) or not listed:
        raise CheckpointError(f"{index}: has no weight_map of names: download or copy it again")
    paths = []
    for part in dict.fromkeys(str(name) for name in listed.values()):
        path = index.parent / part
        if Path(part).name != part or not path.is_file():
            raise CheckpointError(f"{index}: names {part!r}, which is missing: copy this file, too")
        paths.append(path)
    return paths
