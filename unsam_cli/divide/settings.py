"""Settings of `divide`; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from unsam_cli.refinement.settings import Refine, refine_setting
from unsam_cli.settings import Settings, setting


@dataclass(frozen=True)
class DivideSettings(Settings):
    """How to divide: see :func:`~unsam_cli.divide.maskcut.maskcut`."""

    method: Literal["maskcut"] = setting(
        "maskcut", "Algorithm; maskcut is the recursive normalized cut.", choices=("maskcut",)
    )
    max_masks: int = setting(3, "Maximum number of objects per image.", least=1)
    tau: float = setting(
        0.15,
        "Connect patches whose cosine similarity is higher.",
        least=-1,
        below=1,
    )
    min_score: float = setting(0.3, "With --detections: minimum score.")
    refine: Refine = refine_setting("guided")
