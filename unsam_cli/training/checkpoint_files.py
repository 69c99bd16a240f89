"""The files of one training checkpoint, with checksums, so that damaged files are detected.

::

    step-00001000/
      state.pt             step, optimizer, best validation, settings; random numbers and the
                           order of samples follow from the seed and the step
      model.safetensors    weights
      average.safetensors  their moving average, if there is one
      sums.json            the CRC-32 of each of these
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from unsam_cli.errors import CheckpointError, UsageError
from unsam_cli.run.differences import first_difference
from unsam_cli.training.loading import is_of_a_worker

_STATE, _MODEL, _AVERAGE = "state.pt", "model.safetensors", "average.safetensors"
_SUMS = "sums.json"


@dataclass(frozen=True)
class Checkpoint:
    """The complete state from which a training continues.

    Parameters
    ----------
    state : dict
        Step, optimizer, settings and so on: numbers, strings, lists, dicts and tensors.
    weights : mapping of str to tensor
        State dict of the module.
    average : mapping of str to tensor, optional
        Its moving average.
    """

    state: dict[str, Any]
    weights: Mapping[str, Tensor]
    average: Mapping[str, Tensor] | None = None


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint into an empty folder.

    Raises
    ------
    OSError
        It cannot be written.
    """
    save_tensors(checkpoint.weights, folder / _MODEL)
    if checkpoint.average is not None:
        save_tensors(checkpoint.average, folder / _AVERAGE)
    _save_state(checkpoint.state, folder / _STATE)
    sums = {path.name: _sum(path) for path in sorted(folder.iterdir())}
    (folder / _SUMS).write_bytes(orjson.dumps(sums))


def _sum(path: Path) -> int:
    found = 0
    with path.open("rb") as stream:
        while chunk := stream.read(2**20):
            found = zlib.crc32(chunk, found)
    return found


def load_checkpoint(folder: Path, settings: Mapping[str, Any]) -> Checkpoint:
    """Read a checkpoint onto the CPU.

    Parameters
    ----------
    folder : Path
        Folder of the checkpoint.
    settings : dict
        Settings that the checkpoint must have been written with.

    Raises
    ------
    UsageError
        The settings differ; the message names the first difference.
    CheckpointError
        A file is missing or damaged.
    """
    try:
        sums = orjson.loads((folder / _SUMS).read_bytes())
        changed = next((name for name, known in sums.items() if _sum(folder / name) != known), None)
        if changed is not None or not {_STATE, _MODEL} <= sums.keys():
            raise ValueError(f"{changed or _SUMS} differs from what was written")
        checkpoint = Checkpoint(
            torch.load(folder / _STATE, map_location="cpu", weights_only=True),
            load_file(folder / _MODEL),
            load_file(folder / _AVERAGE) if _AVERAGE in sums else None,
        )
        if not isinstance(checkpoint.state, dict) or not isinstance(
            checkpoint.state.get("settings"), dict
        ):
            raise ValueError(f"{_STATE} has no settings")
    except Exception as e:  # pickle, zip and safetensors raise many kinds
        reason = e if isinstance(e, ValueError) else type(e).__name__
        raise CheckpointError(
            f"{folder}: the checkpoint is damaged ({reason}); delete the folder to continue "
            "from the previous one"
        ) from e
    difference = first_difference(checkpoint.state["settings"], dict(settings))
    if difference is not None:
        name, before, now = difference
        raise UsageError(
            f"{folder}: cannot resume, {name} was {before} and is now {now}; use the same "
            "settings and inputs, or start over in another folder"
        )
    return checkpoint


def _save_state(state: Mapping[str, Any], path: Path) -> None:
    try:
        torch.save(state, path)
    except RuntimeError as e:  # raised when the disk is full
        if is_of_a_worker(e):
            raise
        raise OSError(str(e)) from e


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors of any device, even if they share memory, as a safetensors file."""
    copies = {k: v.detach().to("cpu", copy=True).contiguous() for k, v in tensors.items()}
    save_file(copies, path)
