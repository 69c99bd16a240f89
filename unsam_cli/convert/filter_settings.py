"""Settings of `filter`; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from unsam_cli.errors import UsageError
from unsam_cli.settings import Settings, setting


@dataclass(frozen=True)
class FilterSettings(Settings):
    """Which masks of an image are kept: those that meet every condition.

    A mask without a score, level, granularity or stage meets no condition on it.

    Raises
    ------
    UsageError
        A value is outside its range, or a range is empty.
    """

    min_score: float | None = setting(None, "Minimum score.")
    min_area: int = setting(0, "Minimum area, in pixels.", least=0, metavar="PIXELS")
    max_area: float = setting(
        1.0,
        "Maximum area, as a fraction of the image.",
        above=0,
        most=1,
        metavar="FRACTION",
    )
    level: tuple[float, float] | None = setting(
        None,
        "Range of merge levels of conquer: low levels are large wholes.",
        metavar="LOW,HIGH",
    )
    granularity: tuple[float, float] | None = setting(
        None, "Range of granularities, 0.1 (finest) to 1 (coarsest).", metavar="LOW,HIGH"
    )
    stage: str | None = setting(
        None, "The stage that made the mask: divide, conquer or predict.", metavar="NAME"
    )
    inside: tuple[int, int, int, int] | None = setting(
        None,
        "Region of interest, in pixels: at least half of the mask must lie in this box.",
        metavar="X,Y,W,H",
        least=0,
    )
    nms_iou: float = setting(
        1.0,
        "Drop masks whose IoU with a mask of higher score exceeds this; 1 keeps all.",
        least=0,
        most=1,
        metavar="IOU",
    )
    max_masks: int = setting(
        0, "Maximum number of masks per image, those of the highest score; 0 keeps all.", least=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("level", "granularity"):
            limits = getattr(self, name)
            if limits is not None and limits[0] > limits[1]:
                low, high = limits
                raise UsageError(f"--{name} {low:g},{high:g} is empty; give LOW,HIGH")
        if self.inside is not None and not all(self.inside[2:]):
            raise UsageError("--inside X,Y,W,H has no pixels; give a width and a height above 0")
