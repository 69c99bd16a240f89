"""Find an accelerator without importing torch where there is none."""

from __future__ import annotations

from pathlib import Path


def accelerator(name: str) -> str | None:
    """Return the accelerator that `name` stands for, as torch names it, or None for the CPU.

    Parameters
    ----------
    name : str
        See :func:`~unsam_cli.backbones.vit_device.resolve_device`.

    Raises
    ------
    UsageError
        The name is unknown, or this machine has no such device.
    """
    if name == "cpu" or (name == "auto" and not _has_gpu(Path("/dev"))):
        return None
    from unsam_cli.backbones.vit_device import resolve_device

    device = resolve_device(name)
    return None if device.type == "cpu" else str(device)


def _has_gpu(devices: Path) -> bool:
    """Return whether there may be a GPU of NVIDIA (of any number), of WSL or of AMD."""
    return any(devices.glob("nvidia[0-9]*")) or any((devices / n).exists() for n in ("dxg", "kfd"))
