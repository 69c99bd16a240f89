"""What a device computes fastest in without losing what is learnt."""

from __future__ import annotations

import torch

AUTO = "auto"


def precision(name: str, device: str) -> str:
    """Return what `name` means for a device.

    Parameters
    ----------
    name : str
        ``auto``, or the name of a type of torch. ``auto`` means ``bfloat16`` if the device
        multiplies in it natively, else ``float32``: elsewhere it is emulated, and slower.
    device : str
        As torch names it.
    """
    if name != AUTO:
        return name
    kind = torch.device(device).type
    if kind == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = kind == "cpu" and torch.cpu._is_avx512_bf16_supported()
    return "bfloat16" if native else "float32"
