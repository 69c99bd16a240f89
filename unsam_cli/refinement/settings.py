"""Settings of refinement; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from unsam_cli.settings import Settings, setting

Method = Literal["guided", "crf"]
PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": {"max_area": 0.9},
}
"""Values of options by the names of their parameters."""


@dataclass(frozen=True)
class RefineSettings(Settings):
    """How masks are refined, and which of the results are accepted."""

    method: Method = setting(
        "guided",
        "guided: a filter moves borders by a few pixels, to edges of the image. crf: all pixels "
        "compete, by position and colour.",
        choices=get_args(Method),
    )
    min_iou: float = setting(
        0.5,
        "Drop a mask if the IoU of the refined mask with the mask before is lower.",
        least=0,
        most=1,
    )
    max_area: float = setting(
        1.0, "Drop masks that cover more than this fraction of the image.", above=0, most=1
    )
    fill_holes: bool = setting(False, "Fill the holes of refined masks.")
    max_side: int = setting(
        900,
        "Shrink images for crf to a longer side of at most SIDE pixels.",
        least=32,
    )
