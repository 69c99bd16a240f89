"""What `divide` can be told; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from unsam_cli.settings import Settings, batch_size_setting, device_setting, setting

Refine = Literal["none", "guided"]


@dataclass(frozen=True)
class DivideSettings(Settings):
    """How to divide: see :func:`~unsam_cli.divide.maskcut.maskcut`."""

    method: Literal["maskcut"] = setting(
        "maskcut", "Recursive normalized cut.", choices=("maskcut",)
    )
    max_masks: int = setting(3, "Most objects cut from an image.", least=1)
    tau: float = setting(
        0.15,
        "Patches whose cosine similarity is above it are connected.",
        least=-1,
        below=1,
    )
    min_score: float = setting(0.3, "With --detections: smallest score kept.")
    refine: Refine = setting(
        "guided", "How borders follow the edges of the picture.", choices=get_args(Refine)
    )
    device: str = device_setting()
    batch_size: int = batch_size_setting()
