"""Settings of promptable models and of the automatic search; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

from unsam_cli.errors import UsageError, counted
from unsam_cli.settings import Settings, setting

SAM_MASKS = 3
"""Masks that SAM gives for an ambiguous prompt."""
MOST_MASKS = 6
"""Masks per prompt of UnSAM's promptable model."""

search = partial(setting, group="Prompts")


@dataclass(frozen=True)
class PromptableConfig(Settings):
    """Parts that are added to SAM.

    Raises
    ------
    UsageError
        A number is outside its range.
    """

    masks_per_prompt: int = setting(
        SAM_MASKS,
        "Masks per ambiguous prompt: SAM's three, and new ones initialised from them; UnSAM has 6.",
        group="Network",
        least=SAM_MASKS,
        most=MOST_MASKS,
    )
    granularity: bool = setting(
        False,
        "Also train the model to return the mask of a requested granularity.",
        group="Network",
    )

    @property
    def plain(self) -> bool:
        """Whether no parts are added."""
        return self.masks_per_prompt == SAM_MASKS and not self.granularity


@dataclass(frozen=True)
class Prompt:
    """A prompt for one mask, in pixels of the image.

    Parameters
    ----------
    points : tuple of (x, y)
        Clicked points.
    labels : tuple of int
        Meaning of each point: 1 belongs to the mask, 0 does not.
    box : (x0, y0, x1, y1), optional
        Box around the mask.
    granularity : float, optional
        Requested granularity, from 0.1 (finest) to 1 (coarsest).

    Raises
    ------
    ValueError
        There are no points and no box, the numbers of points and labels differ, a label is neither
        0 nor 1, or the granularity is not above 0 and at most 1.
    """

    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: tuple[float, float, float, float] | None = None
    granularity: float | None = None

    @property
    def ambiguous(self) -> bool:
        """Whether several masks can be meant: a single click, as in SAM."""
        return len(self.points) == 1 and self.box is None

    def __post_init__(self) -> None:
        if not self.points and self.box is None:
            raise ValueError("a prompt needs points or a box")
        if len(self.points) != len(self.labels):
            raise ValueError(
                f"{counted(len(self.points), 'point')} with {counted(len(self.labels), 'label')}"
            )
        if not set(self.labels) <= {0, 1}:
            raise ValueError("a label is 1 (belongs to the mask) or 0 (does not)")
        if self.granularity is not None and not 0 < self.granularity <= 1:
            raise ValueError(f"granularity is {self.granularity}; it must be above 0 and at most 1")


@dataclass(frozen=True)
class AutomaticConfig(Settings):
    """Settings of the automatic search: grids of points, crops, and which masks are kept.

    Parameters
    ----------
    min_score : float
        Masks are kept whose predicted IoU is higher; 0 or less keeps all.
    stability_offset : float
        Distance from zero of the two thresholds that :attr:`min_stability` compares, in logits.
    nms_iou : float
        Masks whose IoU with a better mask is higher are dropped.
    crop_nms_iou : float
        `nms_iou` between crops; the mask of the smaller crop is kept.
    crop_overlap : float
        Overlap of the crops of the first layer, as a fraction of the image's shorter side.
    crop_points_divisor : int
        The points per side of layer i are divided by this number to the power of i.

    References
    ----------
    Kirillov et al., Segment Anything, 2023, appendix B; defaults are those of its code.
    """

    points_per_side: int = search(
        32,
        "Without prompts: points per side of the grid that covers the image, or a crop.",
        least=1,
    )
    min_score: float = 0.88
    min_stability: float = search(
        0.95,
        "Without prompts: minimum stability, the IoU between the masks at a higher and a "
        "lower threshold.",
        least=0,
        most=1,
        option="stability",
    )
    stability_offset: float = 1.0
    nms_iou: float = 0.7
    nms: Literal["box", "mask"] = search(
        "box",
        "Without prompts: whether --nms compares boxes, as SAM does, or masks. Comparing "
        "masks keeps parts that fill the box of their whole.",
        choices=("box", "mask"),
        option="nms-of",
    )
    crop_layers: int = search(
        0,
        "Without prompts: number of layers of crops that are searched, too; layer i has "
        "2^i x 2^i crops.",
        least=0,
        most=4,
    )
    crop_nms_iou: float = 0.7
    crop_overlap: float = 512 / 1500
    crop_points_divisor: int = 1
    min_region: int = search(
        0,
        "Without prompts: fill holes and remove islands that are smaller, in pixels; 0 "
        "changes nothing.",
        least=0,
        metavar="PIXELS",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crop_points_divisor < 1:
            raise UsageError(
                f"crop_points_divisor is {self.crop_points_divisor}; it must be at least 1"
            )
