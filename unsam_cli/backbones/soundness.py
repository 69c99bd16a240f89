"""Check that weights from files and outputs of networks are finite floating-point numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unsam_cli.errors import CheckpointError

_FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)
_COUNTS = ("num_batches_tracked", "relative_position_index", "position_ids")
"""Endings of the names of integer tensors that networks store with their weights."""
_FIX = "give the original weights, in float32, bfloat16 or float16"


def check_state(state: Mapping[str, Any], source: object, *, integers: bool = True) -> None:
    """Check the tensors of a file under their names in the file.

    Parameters
    ----------
    state : dict
        Content of the file. Only tensors are checked; other values are handled by
        `unsam_cli.backbones.checkpoints.check_fit`.
    source : Path or str
        Where they come from, for the message.
    integers : bool
        Whether any tensor may have integers; otherwise only counters and indices, by their names.

    Raises
    ------
    CheckpointError
        A tensor has an unsuitable type or values that are not finite; the first one is named.
    """
    tensors = {str(name): x for name, x in state.items() if isinstance(x, Tensor)}
    for name, tensor in tensors.items():
        if tensor.dtype not in _INTEGERS or (not integers and not name.endswith(_COUNTS)):
            check_kind(name, tensor, source)
    check_finite(tensors, source)


def state_size(state: Mapping[str, Any]) -> int:
    """Return the size in bytes that the tensors of a state dict have in memory."""
    return sum(x.numel() * x.element_size() for x in state.values() if isinstance(x, Tensor))


def check_kind(name: object, found: Any, source: object, *, floating: bool = True) -> None:
    """Check that a value is a plain tensor.

    Parameters
    ----------
    name : object
        Name of the value, for the message.
    found : object
        The value.
    source : Path or str
        Where it comes from, for the message.
    floating : bool
        Whether it must have floating-point numbers; otherwise integers.

    Raises
    ------
    CheckpointError
        It is no tensor, quantised, sparse, or of another type.
    """
    if not isinstance(found, Tensor):
        what = f"a {type(found).__name__}, not a tensor"
    elif found.is_quantized or found.layout != torch.strided:
        what = f"a {'quantised' if found.is_quantized else 'sparse'} tensor, not plain numbers"
    elif found.dtype not in (_FLOATS if floating else _INTEGERS):
        wanted = "floating-point numbers" if floating else "integers"
        what = f"{str(found.dtype).removeprefix('torch.')}, not {wanted}"
    else:
        return
    raise CheckpointError(f"{source}: weights cannot be used: {name} is {what}: {_FIX}")


def check_finite(tensors: Mapping[str, Any], source: object) -> None:
    """Raise `CheckpointError` unless all tensors are finite; it names the first that is not."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or is_finite(tensor):
            continue
        single = tensor.detach().float()
        count = tensor.numel() - int(single.isfinite().sum())
        kind = "NaN" if bool(single.isnan().any()) else "infinite"
        raise CheckpointError(
            f"{source}: weights are not finite: {count} of {tensor.numel()} values of "
            f"{name} are {kind}: download the file again, or "
            "use an earlier checkpoint"
        )


def check_output(values: NDArray[np.floating[Any]], dtype: str = "") -> None:
    """Check that the output of a network is finite.

    Even with finite weights, activations can exceed the range of half precision.

    Parameters
    ----------
    values : array of float
        Output of the network.
    dtype : str
        Number format in which the network computed, for the message.

    Raises
    ------
    CheckpointError
        A value is not finite.
    """
    # First one sum, without another array; only if it is not finite, check every value.
    with np.errstate(over="ignore", invalid="ignore"):
        sound = bool(np.isfinite(values.sum())) or bool(np.isfinite(values).all())
    if not sound:
        narrow = dtype in ("float16", "bfloat16")
        fix = "give --dtype float32" if narrow else "give other weights"
        told = f" in {dtype}" if dtype else ""
        raise CheckpointError(f"the network computes numbers{told} that are not finite: {fix}")


def is_finite(tensor: Tensor) -> bool:
    """Return whether all values of a tensor are finite in float32, in which networks compute."""
    if tensor.device.type == "meta":  # has no values
        return True
    # First one sum, without another array; only if it is not finite, check every value.
    total = tensor.detach().sum(dtype=torch.float32)
    return bool(total.isfinite()) or bool(tensor.detach().float().isfinite().all())
