"""Load model folders of transformers completely or not at all, and save them."""

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
    """Load a model folder of transformers in float32 on the CPU, without internet access.

    Parameters
    ----------
    cls : type
        Model class of transformers with ``from_pretrained``.
    folder : Path
        Folder with ``config.json`` and weights.
    whole : bool
        Whether all weights of the folder must be used.
    config : PreTrainedConfig, optional
        Configuration to use instead of the folder's.
    trial : callable, optional
        Runs the network without values (on torch's device ``meta``) to check that its settings fit
        together, because transformers does not check most of them.

    Raises
    ------
    CheckpointError
        Weights are missing, superfluous, of another shape or not finite, or the folder cannot be
        read.
    """
    for path in folder.iterdir():
        refuse_special(path, CheckpointError)
    files = weight_files(folder)
    if config is None:
        config = read_config(cls.config_class, folder)
    state = read_weights(folder, files)
    _check_config(cls, config, folder, sum(path.stat().st_size for path in files), trial)
    with refusing(folder), quiet(), offline():
        # With a folder, transformers would choose the files itself, and suggest to trust pickles.
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
    """Refuse a configuration that needs more values than the files have bytes, or cannot run.

    Otherwise memory would be allocated for the values before they are found to be missing.
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
    """Check the tensors of a folder that a network uses, by their names in the folder."""
    used = {name: x for name, x in state.items() if name not in unused}
    counts = [n for n, x in network.state_dict().items() if not x.is_floating_point()]
    for name, tensor in used.items():
        # Names may have lost or gained a prefix.
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
        Existing folder.
    state : dict of tensors, optional
        State dict to write instead of the network's.
    """
    with quiet():
        network.save_pretrained(folder, state_dict=state and dict(state))
    share_weights(folder)


def share_weights(folder: Path) -> None:
    """Give weights, which are written for their owner only, the file mode of ``config.json``."""
    mode = (folder / "config.json").stat().st_mode
    for path in folder.glob("*.safetensors"):
        path.chmod(mode)
