"""What a promptable model and the automatic search for masks are made of; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from unsam_cli.errors import UsageError

SAM_MASKS = 3
"""Masks that SAM gives for an ambiguous prompt."""
MOST_MASKS = 6
"""Levels of UnSAM's promptable model."""


@dataclass(frozen=True)
class PromptableConfig:
    """Parts that are added to SAM.

    Parameters
    ----------
    masks_per_prompt : int
        Masks of an ambiguous prompt, 3 to 6: SAM's own three and new ones, initialised from them.
    granularity : bool
        Whether a prompt may say how fine the mask should be.

    Raises
    ------
    UsageError
        A number that cannot be.
    """

    masks_per_prompt: int = SAM_MASKS
    granularity: bool = False

    def __post_init__(self) -> None:
        if not SAM_MASKS <= self.masks_per_prompt <= MOST_MASKS:
            raise UsageError(
                f"masks per prompt is {self.masks_per_prompt}; from {SAM_MASKS} to {MOST_MASKS}"
            )

    @property
    def plain(self) -> bool:
        """Whether nothing is added."""
        return self.masks_per_prompt == SAM_MASKS and not self.granularity


@dataclass(frozen=True)
class Prompt:
    """What is asked of a model about one mask, in pixels of the image.

    Parameters
    ----------
    points : tuple of (x, y)
        Clicks.
    labels : tuple of int
        Of every point: 1 belongs to the mask, 0 does not.
    box : (x0, y0, x1, y1), optional
        Around the mask.
    granularity : float, optional
        0.1 for the finest mask to 1 for the coarsest.

    Raises
    ------
    ValueError
        There is nothing to go by, a number is wrong, or labels do not match the points.
    """

    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: tuple[float, float, float, float] | None = None
    granularity: float | None = None

    @property
    def ambiguous(self) -> bool:
        """Whether it can mean several masks: a single click, as in SAM."""
        return len(self.points) == 1 and self.box is None

    def __post_init__(self) -> None:
        if not self.points and self.box is None:
            raise ValueError("a prompt needs points or a box")
        if len(self.points) != len(self.labels):
            raise ValueError(f"{len(self.points)} points have {len(self.labels)} labels")
        if not set(self.labels) <= {0, 1}:
            raise ValueError("a label is 1 (belongs to the mask) or 0 (does not)")
        if self.granularity is not None and not 0 < self.granularity <= 1:
            raise ValueError(f"granularity is {self.granularity}; over 0 and at most 1")


@dataclass(frozen=True)
class AutomaticConfig:
    """Which masks of an image are kept when a grid of points prompts for them.

    Parameters
    ----------
    points_per_side : int
        Points of the grid along a side of the image, or of a crop.
    min_score : float
        IoU that the model predicts for a mask; it must be higher.
    min_stability : float
        IoU of the mask cut at ``stability_offset`` above and below zero; at least so much.
    stability_offset : float
        In logits.
    nms_iou : float
        Masks whose overlap with a better one is higher are dropped.
    nms : {"box", "mask"}
        Whether the overlap is that of boxes, as SAM has it, or of masks.
    crop_layers : int
        Layer i searches 2^i x 2^i crops of the image, too.
    crop_nms_iou : float
        `nms_iou` between crops; the smaller crop wins.
    crop_overlap : float
        How much crops of the first layer overlap, as a fraction of the image's shorter side.
    crop_points_divisor : int
        Layer i has so many times fewer points along a side, to the power of i.
    min_region : int
        Pixels; smaller holes are filled and smaller islands dropped. 0 leaves all.

    References
    ----------
    Kirillov et al., Segment Anything, 2023, appendix B; defaults are those of its code.
    """

    points_per_side: int = 32
    min_score: float = 0.88
    min_stability: float = 0.95
    stability_offset: float = 1.0
    nms_iou: float = 0.7
    nms: str = "box"
    crop_layers: int = 0
    crop_nms_iou: float = 0.7
    crop_overlap: float = 512 / 1500
    crop_points_divisor: int = 1
    min_region: int = 0

    def __post_init__(self) -> None:
        if self.points_per_side < 1 or self.crop_points_divisor < 1:
            raise UsageError("points per side and their divisor are at least 1")
        if self.crop_layers < 0 or self.min_region < 0:
            raise UsageError("crop layers and the size of regions cannot be negative")
        if self.nms not in ("box", "mask"):
            raise UsageError(f"unknown suppression {self.nms!r}; box or mask")
