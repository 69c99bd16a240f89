"""Settings of refinement; imports nothing heavy."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any, Literal, get_args

from unsam_cli.errors import UsageError
from unsam_cli.settings import Settings, setting

Method = Literal["guided", "crf", "cascadepsp"]
Refine = Literal["none", "guided", "crf", "cascadepsp"]
"""What commands that find masks offer."""
WEIGHTS_HELP = "Weights of the network of cascadepsp.  [default: its package downloads them]"
NO_PACKAGE = "cascadepsp needs a package: pip install segmentation-refinement"
PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": {"max_area": 0.9, "colours": "bgr"},
}
"""Values of options by the names of their parameters."""


@dataclass(frozen=True)
class RefineSettings(Settings):
    """How masks are refined, and which of the results are accepted."""

    method: Method = setting(
        "guided",
        "guided: a filter moves borders by a few pixels, to edges of the image. crf: all pixels "
        "compete, by position and colour. cascadepsp: a network that was trained with labels.",
        choices=get_args(Method),
    )
    min_iou: float = setting(
        0.5,
        "Drop a mask if the IoU of its refined and its original form is lower.",
        least=0,
        most=1,
    )
    max_area: float = setting(
        1.0, "Drop masks that cover more than this fraction of the image.", above=0, most=1
    )
    fill_holes: bool = setting(False, "Fill the holes of refined masks.")
    min_side: int = setting(
        100, "Enlarge crops for cascadepsp to a longer side of at least SIDE pixels.", least=32
    )
    max_side: int = setting(
        900,
        "Shrink images for crf, and crops for cascadepsp, to a longer side of at most SIDE pixels.",
        least=32,
    )
    crop: float = setting(
        2.0,
        "Side of the crops for cascadepsp, relative to the longer side of the mask's box.",
        least=1,
    )
    colours: Literal["rgb", "bgr"] = setting(
        "rgb",
        "Order of the colours that cascadepsp sees; it was trained with rgb, the published code "
        "passes bgr.",
        choices=("rgb", "bgr"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_side > self.max_side:
            raise UsageError(
                f"min_side is {self.min_side} and max_side is {self.max_side}; "
                "min_side must not be larger"
            )


def refuse_without_package(method: str | None) -> None:
    """Raise a UsageError if a method needs a package that is not installed."""
    if method == "cascadepsp" and importlib.util.find_spec("segmentation_refinement") is None:
        raise UsageError(NO_PACKAGE)


def refine_setting(default: str) -> Any:
    """Declare the refinement of a command that finds masks."""
    return setting(
        default,
        "Refinement of mask borders: guided aligns them with the edges in the image; crf and "
        "cascadepsp are those of `unsam refine`.",
        choices=get_args(Refine),
    )
