"""Whether what a file has in the place of weights can be weights: finite numbers with a point."""

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
"""Ends of the names of integers that networks keep beside their weights."""
_FIX = "give the original weights, in float32, bfloat16 or float16"


def check_state(state: Mapping[str, Any], source: object, *, integers: bool = True) -> None:
    """Check the tensors of a file, under the names that they have there.

    Parameters
    ----------
    state : dict
        Tensors; `unsam_cli.backbones.checkpoints.check_fit` handles all other values.
    source : Path or str
        Where they were found.
    integers : bool
        Whether the file's kind may have integers; else those alone whose names tell that they
        count.

    Raises
    ------
    CheckpointError
        A tensor holds something else than finite numbers; the first is named.
    """
    tensors = {str(name): x for name, x in state.items() if isinstance(x, Tensor)}
    for name, tensor in tensors.items():
        if tensor.dtype not in _INTEGERS or (not integers and not name.endswith(_COUNTS)):
            check_kind(name, tensor, source)
    check_finite(tensors, source)


def state_size(state: Mapping[str, Any]) -> int:
    """Return the bytes that the tensors of a file take, or would take, in memory."""
    return sum(x.numel() * x.element_size() for x in state.values() if isinstance(x, Tensor))


def check_kind(name: object, found: Any, source: object, *, floating: bool = True) -> None:
    """Raise `CheckpointError` unless something is a plain tensor of weights, or of integers."""
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
    """Raise `CheckpointError` naming the first of some plain tensors that is not finite."""
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
    """Raise `CheckpointError` unless what a network has computed is finite.

    Weights may be finite and yet lead to numbers that half precision does not have.

    Parameters
    ----------
    values : array of float
        On the CPU; large ones are read once.
    dtype : str
        What the network computed in.
    """
    # One sum, without another array; where it overflows, a closer look.
    with np.errstate(over="ignore", invalid="ignore"):
        sound = bool(np.isfinite(values.sum())) or bool(np.isfinite(values).all())
    if not sound:
        narrow = dtype in ("float16", "bfloat16")
        fix = "give --dtype float32" if narrow else "give other weights"
        told = f" in {dtype}" if dtype else ""
        raise CheckpointError(f"the network computes numbers{told} that are not finite: {fix}")


def is_finite(tensor: Tensor) -> bool:
    """Whether all numbers of a tensor are finite as float32, which networks compute in."""
    if tensor.device.type == "meta":  # names and shapes alone
        return True
    # One sum, without another array; where it overflows, a closer look.
    total = tensor.detach().sum(dtype=torch.float32)
    return bool(total.isfinite()) or bool(tensor.detach().float().isfinite().all())
