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
    if name == "cpu" or (name == "auto" and not _has_gpu(Path("/dev"))):
        return None
    from unsam_cli.backbones.vit_device import resolve_device

    device = resolve_device(name)
    return (
        None if device.type == "cpu" or (name == "auto" and device.type != "cuda") else str(device)
    )


def _has_gpu(devices: Path) -> bool:
    """Whether there may be a GPU: a container may see the second one alone, or WSL's, or AMD's."""
    return any(devices.glob("nvidia[0-9]*")) or any((devices / n).exists() for n in ("dxg", "kfd"))
