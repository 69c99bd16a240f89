"""Checkpoint files, read safely and checked against the needs of a model.

Files are read without running code from them (``weights_only=True``, or safetensors). A checkpoint
that fits the model only in part is refused.
"""

from __future__ import annotations

import argparse
import logging
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from unsam_cli.backbones.soundness import check_finite, check_kind
from unsam_cli.errors import CheckpointError
from unsam_cli.io.files import check_regular
from unsam_cli.io.kinds import mistaken_file

logger = logging.getLogger(__name__)

_DEPTH = 4
"""Maximum depth at which values are checked: a dict may contain itself."""

_MAX_NAMES = 3
_ARCHIVES = {"TorchScript": "a TorchScript program", "legacy .tar": "a tar archive of old torch"}
_CONVERT = (
    "if you trust it, open it with the program that wrote it, save the state dict with "
    "safetensors.torch.save_file, and give that file"
)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU without running code from it.

    Parameters
    ----------
    path : Path
        A ``.safetensors`` file, or a PyTorch file of tensors.

    Returns
    -------
    dict
        The content: a state dict, or a training state that contains one (see
        :func:`~unsam_cli.backbones.wrappers.unwrap`).

    Raises
    ------
    CheckpointError
        The file is damaged, contains code, or does not contain a dict.
    """
    check_regular(path, error=CheckpointError)
    if text := mistaken_file(path, "checkpoint"):
        raise CheckpointError(f"{path}: {text}")
    try:
        if path.suffix == ".safetensors":
            return dict(safetensors.torch.load_file(path))
        # DINO keeps its command line in the training state; a Namespace only holds values.
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            # torch warns about what it refuses anyway.
            warnings.simplefilter("ignore", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True)
    # On damaged pickles torch's reader can raise almost any error.
    except Exception as error:
        raise _refusal(path, error) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, not a state dict")
    _check_values(path, content)
    return content


def _refusal(path: Path, error: Exception) -> CheckpointError:
    """Return the error for an unreadable file; torch's message suggests to read it unsafely."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return CheckpointError(f"{path}: there is not enough memory to read it")
    kind = next((kind for word, kind in _ARCHIVES.items() if word in text), "")
    if isinstance(error, pickle.UnpicklingError):
        kind = _kind(path)
    if kind:
        found = re.search(r"GLOBAL (\S+)", text)
        wish = f" (it wants {found[1]})" if found else ""
        return CheckpointError(
            f"{path}: not a file of tensors only but {kind}{wish}; opening it could run "
            f"code: {_CONVERT}"
        )
    if isinstance(error, pickle.UnpicklingError):
        return CheckpointError(f"{path}: not a file of tensors: give a checkpoint")
    reason = f" ({text[:200]})" if text else ""
    return CheckpointError(f"{path}: damaged checkpoint{reason}: download or copy it again")


def _kind(path: Path) -> str:
    """Return what a file is that torch has refused; empty if it is no file of torch."""
    with path.open("rb") as file:
        return "a pickle" if file.read(1) in (b"\x80", b"P") else ""


def _check_values(path: Path, content: dict[str, Any], depth: int = _DEPTH) -> None:
    """Refuse tensors that were saved without values, on torch's device ``meta``."""
    for name, value in content.items():
        if isinstance(value, dict) and depth:
            _check_values(path, value, depth - 1)
        elif isinstance(value, Tensor) and value.device.type == "meta":
            raise CheckpointError(
                f"{path}: {name} was saved without its values: download or copy the file again"
            )


def check_fit(
    wanted: Mapping[str, Tensor], found: Mapping[str, Any], source: object, fix: str
) -> None:
    """Check that weights fit a model.

    Parameters
    ----------
    wanted, found : mapping of str to tensor
        State dict of the model, and the weights to be loaded.
    source : Path or str
        Where the weights come from, for the message.
    fix : str
        What to do about it; the end of the message.

    Raises
    ------
    CheckpointError
        Weights are missing, unexpected, of another shape or type, or not finite. The message names
        the first few, the log all of them.
    """
    shared = {k: (v, found[k]) for k, v in wanted.items() if k in found}
    problems = {
        "missing": [k for k in wanted if k not in found],
        "unexpected": [k for k in found if k not in wanted],
        "with a different shape": [
            f"{k} {tuple(there.shape)} for {tuple(v.shape)}"
            for k, (v, there) in shared.items()
            if isinstance(there, Tensor) and there.shape != v.shape
        ],
    }
    for what, names in problems.items():
        for name in names:
            logger.info("%s: %s: %s", source, what, name)
    text = "; ".join(_list(what, names) for what, names in problems.items() if names)
    if text:
        raise CheckpointError(f"{source}: weights do not fit the model: {text}: {fix}")
    for name, (tensor, there) in shared.items():
        check_kind(name, there, source, floating=tensor.is_floating_point())
    check_finite({name: found[name] for name in shared}, source)


def _list(what: str, names: list[str]) -> str:
    """Return the count and the first few of `names`."""
    more = ", ...; all with --verbose" if len(names) > _MAX_NAMES else ""
    return f"{len(names)} {what} ({', '.join(names[:_MAX_NAMES])}{more})"
