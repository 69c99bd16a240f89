"""Whether there is an accelerator, told without importing torch where there is none."""

from __future__ import annotations

from pathlib import Path


def accelerator(name: str) -> str | None:
    """Return the accelerator that `name` means, as torch names it, or None for the CPU.

    Parameters
    ----------
    name : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``. ``auto`` means CUDA if there is any.

    Raises
    ------
    UsageError
        The name is unknown, or this machine has no such device.
    """
    if name == "cpu" or (name == "auto" and not Path("/dev/nvidia0").exists()):
        return None
    from unsam_cli.backbones.vit_device import resolve_device

    device = resolve_device(name)
    return (
        None if device.type == "cpu" or (name == "auto" and device.type != "cuda") else str(device)
    )
