"""Checkpoint files, read safely and checked against what a model needs.

Files are read without running code from them (``weights_only=True``, or safetensors), and what a
file holds must be what the model needs: a checkpoint that fits only in part is refused, not used.
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

from unsam_cli.errors import CheckpointError

logger = logging.getLogger(__name__)

_WRAPPERS = ("teacher", "state_dict_ema", "model_ema", "state_dict", "model", "student")
"""Keys under which training checkpoints keep the network, the best one first."""

_PREFIXES = ("module.", "_orig_mod.", "backbone.")

_MAX_NAMES = 3


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint without running code from it.

    Raises
    ------
    CheckpointError
        The file is damaged, holds code, or something else than a dict.
    """
    try:
        if path.suffix == ".safetensors":
            return dict(safetensors.torch.load_file(path))
        # DINO keeps its command line in the training state; a Namespace only holds values.
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            # It warns of what it then refuses.
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"Unsupported global: GLOBAL (\S+)", str(error))
        reason = f" (it wants to call {found[1]})" if found else ""
        raise CheckpointError(
            f"{path}: not a file of tensors only, so it is not opened{reason}: "
            "convert it to safetensors where you trust it"
        ) from error
    except (safetensors.SafetensorError, RuntimeError, EOFError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path}: damaged checkpoint ({reason}): get it again") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, not a state dict")
    return content


def unwrap(state: dict[str, Any]) -> dict[str, Any]:
    """Return the network's own state dict out of a training checkpoint."""
    while inner := [state[key] for key in _WRAPPERS if isinstance(state.get(key), dict)]:
        state = inner[0]
    while prefixes := [p for p in _PREFIXES if any(str(key).startswith(p) for key in state)]:
        prefix = prefixes[0]
        state = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    return state


def check_fit(
    wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], source: object, mend: str
) -> None:
    """Raise `CheckpointError` naming what is missing, unexpected or of another shape.

    The log has all names, the message the first few.

    Parameters
    ----------
    wanted, found : dict of tensors
        What the model needs and what there is.
    source : Path or str
        Where it was found.
    mend : str
        What to do about it, the end of the message.
    """
    problems = {
        "missing": [k for k in wanted if k not in found],
        "unexpected": [k for k in found if k not in wanted],
        "of another shape": [
            f"{k} {tuple(found[k].shape)} for {tuple(v.shape)}"
            for k, v in wanted.items()
            if k in found and found[k].shape != v.shape
        ],
    }
    for what, names in problems.items():
        for name in names:
            logger.info("%s: %s: %s", source, what, name)
    text = "; ".join(_list(what, names) for what, names in problems.items() if names)
    if text:
        raise CheckpointError(f"{source}: weights do not fit the model: {text}: {mend}")


def _list(what: str, names: list[str]) -> str:
    """Return the count and the first few of `names`."""
    more = ", ...; all with --verbose" if len(names) > _MAX_NAMES else ""
    return f"{len(names)} {what} ({', '.join(names[:_MAX_NAMES])}{more})"
