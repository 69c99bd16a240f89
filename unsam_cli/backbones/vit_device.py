"""The device and the number format in which a network computes."""

from __future__ import annotations

import torch

from unsam_cli.errors import UsageError, counted

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def resolve_device(name: str) -> torch.device:
    """Return the device that `name` stands for on this machine.

    Parameters
    ----------
    name : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``. ``auto`` is CUDA if available, else the
        CPU. Apple's MPS must be named: no command has been tried on it.

    Raises
    ------
    UsageError
        The name is unknown, or this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not (kind == "cuda" and index.isdecimal())):
        raise UsageError(f"unknown device {name!r}: choose auto, cpu, cuda, cuda:N or mps")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise UsageError("this machine has no mps device: use --device cpu")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(index or 0) >= count:
            raise UsageError(
                f"device {name} does not exist, this process sees "
                f"{counted(count, 'CUDA device')}: use --device auto or cpu"
            )
    return torch.device(name)


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the torch dtype called `name`.

    Raises
    ------
    UsageError
        The name is unknown, or it is float16 and `device` is a CPU.

    Notes
    -----
    On CPUs, attention in float16 is neither accurate nor fast. bfloat16 needs as little memory, and
    CPUs have instructions for it.
    """
    if name not in DTYPES:
        raise UsageError(f"unknown dtype {name!r}: choose one of {', '.join(DTYPES)}")
    if name == "float16" and device.type == "cpu":
        raise UsageError("float16 needs a GPU: on the CPU use --dtype bfloat16 or float32")
    return DTYPES[name]
