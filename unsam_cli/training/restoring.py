"""Check whether a training can continue from a checkpoint, before anything is changed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from unsam_cli.backbones.checkpoints import check_fit
from unsam_cli.backbones.soundness import check_finite, check_kind
from unsam_cli.errors import CheckpointError
from unsam_cli.training.checkpoint_files import Checkpoint
from unsam_cli.training.skipped import restored

_MOMENTS = ("exp_avg", "exp_avg_sq")
_FIX = "delete the folder to go on from the checkpoint before"


def check_checkpoint(
    folder: Path,
    checkpoint: Checkpoint,
    *,
    weights: Mapping[str, Tensor],
    average: Mapping[str, Tensor] | None,
    optimizer: Mapping[str, Any],
    parameters: Sequence[Tensor],
) -> None:
    """Compare a checkpoint with the module and the optimizer that it is to be loaded into.

    Parameters
    ----------
    folder : Path
        Folder of the checkpoint, for error messages.
    checkpoint : Checkpoint
        The checkpoint, see `unsam_cli.training.checkpoint_files.load_checkpoint`.
    weights, average : mapping of str to tensor
        State dict of the module, and its moving average or None.
    optimizer : mapping
        State dict of the new optimizer, with its groups of parameters.
    parameters : sequence of tensor
        The parameters of the optimizer, in its order.

    Raises
    ------
    CheckpointError
        A value is missing, has another shape or type, or is not finite.
    """
    try:
        _check_progress(checkpoint.state)
        _check_groups(checkpoint.state.get("optimizer"), optimizer)
    except ValueError as error:
        raise CheckpointError(f"{folder / 'state.pt'}: {error}: {_FIX}") from error
    check_fit(weights, checkpoint.weights, folder / "model.safetensors", _FIX)
    if average is not None:
        found = checkpoint.average or {}
        check_fit(average, found, folder / "average.safetensors", _FIX)
    _check_moments(checkpoint.state["optimizer"]["state"], parameters, folder / "state.pt")


def _check_progress(state: Mapping[str, Any]) -> None:
    """Check the step, the best validation, the mean losses and the skipped images."""
    step, best, mean, skipped = (state.get(key) for key in ("step", "best", "mean", "skipped"))
    if type(step) is not int or step < 0:
        raise ValueError(f"its step is {step!r}")
    if best is not None and not (
        isinstance(best, dict) and type(best.get("step")) is int and _is_number(best.get("value"))
    ):
        raise ValueError(f"its best validation is {best!r}")
    if not isinstance(mean, dict) or mean.keys() != {"sums", "count"}:
        raise ValueError("it has no mean of the last losses")
    sums, count = mean["sums"], mean["count"]
    if type(count) is not int or not isinstance(sums, dict) or count < (1 if sums else 0):
        raise ValueError("its mean of the last losses cannot be read")
    if not all(isinstance(name, str) and _is_number(x) for name, x in sums.items()):
        raise ValueError("its mean of the last losses cannot be read")
    if restored(skipped) is None:
        raise ValueError("its list of skipped images cannot be read")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _check_groups(found: Any, wanted: Mapping[str, Any]) -> None:
    """Check that the optimizer has the same parameters in the same groups."""
    if not isinstance(found, dict) or not isinstance(found.get("state"), dict):
        raise ValueError("it has no optimizer")
    groups, expected = found.get("param_groups"), wanted["param_groups"]
    if not isinstance(groups, list) or len(groups) != len(expected):
        raise ValueError("its optimizer has other groups of parameters")
    for group, like in zip(groups, expected, strict=True):
        params = group.get("params") if isinstance(group, dict) else None
        whole = isinstance(params, list) and all(type(index) is int for index in params)
        if not whole or params != like["params"]:
            raise ValueError("its optimizer has other groups of parameters")


def _check_moments(found: Mapping[Any, Any], parameters: Sequence[Tensor], path: Path) -> None:
    """Check the state of AdamW for each parameter."""
    for index, moments in found.items():
        what = f"what its optimizer remembers of parameter {index}"
        if type(index) is not int or not 0 <= index < len(parameters):
            raise CheckpointError(f"{path}: {what} belongs to no parameter: {_FIX}")
        if not isinstance(moments, dict) or moments.keys() != {"step", *_MOMENTS}:
            raise CheckpointError(f"{path}: {what} is not of AdamW: {_FIX}")
        for name, tensor in moments.items():
            check_kind(f"{name} of parameter {index}", tensor, path)
            shape = parameters[index].shape if name in _MOMENTS else ()
            if tensor.shape != shape:
                raise CheckpointError(f"{path}: {what} has another shape: {_FIX}")
        check_finite({f"{name} of parameter {index}": x for name, x in moments.items()}, path)
