"""Model folders of transformers: opened completely or not at all, and written without noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unsam_cli.backbones.folder_config import building, offline, quiet, read_config, refusing
from unsam_cli.backbones.folder_weights import read_weights, weight_files
from unsam_cli.backbones.soundness import check_finite, check_kind
from unsam_cli.errors import CheckpointError
from unsam_cli.io.files import refuse_special

_MAX_NAMES = 3


def load_network(
    cls: Any,
    folder: Path,
    *,
    whole: bool = True,
    config: Any = None,
    trial: Callable[[Any], object] | None = None,
) -> Any:
    """Open a folder of transformers, in float32 on the CPU; never ask a network for anything.

    Parameters
    ----------
    cls : type
        A class of transformers with ``from_pretrained``.
    folder : Path
        Has ``config.json`` and weights.
    whole : bool
        Whether all weights of the folder must be used.
    config : PreTrainedConfig, optional
        Instead of that of the folder.
    trial : callable, optional
        Runs such a network, without numbers (on torch's device ``meta``), to see that its settings
        fit together: transformers takes most of them as they are.

    Raises
    ------
    CheckpointError
        Anything is missing, too much, of another shape or not finite, or the folder cannot be read.
    """
    for path in folder.iterdir():
        refuse_special(path, CheckpointError)
    files = weight_files(folder)
    if config is None:
        config = read_config(cls.config_class, folder)
    state = read_weights(folder, files)
    _check_config(cls, config, folder, sum(path.stat().st_size for path in files), trial)
    with refusing(folder), quiet(), offline():
        # transformers would read files of its own choice, pickles with advice to trust them.
        network, found = cls.from_pretrained(
            None,
            config=config,
            state_dict=dict(state),
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            dtype=torch.float32,
        )
    problems = [
        f"{len(names)} {what} ({', '.join(sorted(names)[:_MAX_NAMES])})"
        for what, names in (
            ("missing", found["missing_keys"]),
            ("unexpected", found["unexpected_keys"] if whole else ()),
            ("with a different shape", [name for name, *_ in found["mismatched_keys"]]),
        )
        if names
    ]
    if problems:
        raise CheckpointError(
            f"{folder}: weights do not fit the model: {'; '.join(problems)}: download it again"
        )
    _check_used(network, state, set(found["unexpected_keys"]), folder)
    return network


def _check_config(
    cls: Any, config: Any, folder: Path, there: int, trial: Callable[[Any], object] | None
) -> None:
    """Refuse a configuration of more numbers than the files have bytes, or that cannot run.

    Memory would be taken for them before it is seen that they are missing.
    """
    with building(folder, there), torch.device("meta"):
        network = cls(config)
    asked = sum(tensor.numel() for tensor in network.state_dict().values())
    if asked > there:
        raise CheckpointError(
            f"{folder}: its configuration needs {asked} values, but its files have {there} "
            "bytes: download it again"
        )
    if trial is not None:
        with refusing(folder), torch.inference_mode(), torch.device("meta"):
            trial(network.eval())


def _check_used(network: Any, state: Mapping[str, Any], unused: set[str], folder: Path) -> None:
    """Check the tensors of a folder that a network has taken over, by their names there."""
    used = {name: x for name, x in state.items() if name not in unused}
    counts = [n for n, x in network.state_dict().items() if not x.is_floating_point()]
    for name, tensor in used.items():
        # Names may have lost or gained a beginning.
        counted = any(n.endswith(name) or name.endswith(n) for n in counts)
        check_kind(name, tensor, folder, floating=not counted)
    check_finite(used, folder)
    check_finite(network.state_dict(), folder)


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
