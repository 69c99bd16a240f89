"""The number format that a device computes fastest in without harm to training."""

from __future__ import annotations

import torch

AUTO = "auto"


def precision(name: str, device: str) -> str:
    """Return the name of the dtype that `name` stands for on a device.

    Parameters
    ----------
    name : str
        ``auto``, or the name of a dtype of torch, which is returned. ``auto`` is ``bfloat16`` if
        the device multiplies in it natively, else ``float32``: emulated bfloat16 is slower.
    device : str
        Device name of torch, such as ``cuda:0``.

    Returns
    -------
    str
        Such as ``bfloat16``.
    """
    if name != AUTO:
        return name
    kind = torch.device(device).type
    if kind == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = kind == "cpu" and torch.cpu._is_avx512_bf16_supported()
    return "bfloat16" if native else "float32"
