"""Model folders of transformers: opened completely or not at all, and written without noise."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers.utils import logging as transformers_logging

from unsam_cli.errors import CheckpointError

_MAX_NAMES = 3


def load_network(cls: Any, folder: Path, *, whole: bool = True, **options: Any) -> Any:
    """Open a folder of transformers, in float32 on the CPU.

    Parameters
    ----------
    cls : type
        A class of transformers with ``from_pretrained``.
    folder : Path
        Has ``config.json`` and weights.
    whole : bool
        Whether all weights of the folder must be used.
    **options
        Passed on.

    Raises
    ------
    CheckpointError
        Anything is missing, too much, or of another shape, or the folder cannot be read.
    """
    try:
        _check_size(cls, folder, options.get("config"))
        with quiet():
            network, found = cls.from_pretrained(
                str(folder),
                local_files_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                dtype=torch.float32,
                **options,
            )
    # transformers raises what its readers raise.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{folder}: cannot be opened ({reason}): get it again") from error
    problems = [
        f"{len(names)} {what} ({', '.join(sorted(names)[:_MAX_NAMES])})"
        for what, names in (
            ("missing", found["missing_keys"]),
            ("unexpected", found["unexpected_keys"] if whole else ()),
            ("of another shape", [name for name, *_ in found["mismatched_keys"]]),
        )
        if names
    ]
    if problems:
        raise CheckpointError(f"{folder}: weights do not fit: {'; '.join(problems)}: get it again")
    return network


def _check_size(cls: Any, folder: Path, config: Any) -> None:
    """Refuse a configuration of more numbers than the files have bytes.

    Memory would be taken for them before it is seen that they are missing.
    """
    with quiet(), torch.device("meta"):
        network = cls(config or cls.config_class.from_pretrained(folder, local_files_only=True))
    asked = sum(tensor.numel() for tensor in network.state_dict().values())
    there = sum(p.stat().st_size for p in folder.iterdir() if p.suffix in (".safetensors", ".bin"))
    if asked > there:
        raise ValueError(
            f"its configuration asks for {asked} numbers, its files have {there} bytes"
        )


def save_network(network: Any, folder: Path, state: Mapping[str, Tensor] | None = None) -> None:
    """Write ``config.json`` and ``model.safetensors`` into a folder.

    Parameters
    ----------
    network : transformers.PreTrainedModel
    folder : Path
        Exists.
    state : dict of tensors, optional
        Weights to be written instead of those of the network.
    """
    with quiet():
        network.save_pretrained(folder, state_dict=state and dict(state))
    share_weights(folder)


def share_weights(folder: Path) -> None:
    """Let those read weights, written for their owner alone, who may read the configuration."""
    mode = (folder / "config.json").stat().st_mode
    for path in folder.glob("*.safetensors"):
        path.chmod(mode)


def read_json(path: Path, mend: str) -> dict[str, Any]:
    """Return a JSON object.

    Raises
    ------
    CheckpointError
        There is none; the message ends with `mend`.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file: {mend}") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}): get it again") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: not a JSON object: get it again")
    return content


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from drawing bars and listing keys; what is wrong is told by us."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
