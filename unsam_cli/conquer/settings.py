"""What `conquer` can be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from unsam_cli.errors import UsageError

Refine = Literal["none", "guided"]
Preset = Literal["default", "paper"]

PAPER_WINDOW = 5
"""The published code compares a mask with the next four by area."""


class Rule(NamedTuple):
    """What a merge tree goes by, beside the similarity of features: exponents of `merge_tree`.

    With both 0 it is the published rule.
    """

    size: float = 0.0
    border: float = 0.0


@dataclass(frozen=True)
class ConquerSettings:
    """Options of the conquer step; the defaults are those of the command.

    Attributes
    ----------
    thresholds : tuple of float
        Similarities down to which clusters are merged. ``paper`` emits the clusters at each of
        them; ``default`` emits what exists anywhere between the highest and the lowest.
    min_patches : int
        Least size of a cluster, patches.
    coverage : float
        A mask is kept if more than this fraction of it lies in its region.
    nms_iou : float
        Of two masks with a higher IoU only the better one stays.
    nms_window : int
        Compare a mask with the next ``nms_window - 1`` only; 0 compares all. ``paper`` takes 5
        for 0.
    refine : {"none", "guided"}
        ``guided`` lets borders follow the edges of the picture.
    preset : {"default", "paper"}
        ``paper`` is the published pipeline with its quirks.
    rules : tuple of Rule
        How strongly small clusters merge first, and those without a sharp border between them; one
        tree for each: different trees know different objects. ``paper`` has the plain tree alone.
    max_masks : int
        Most masks of an image, the best ones; 0 keeps all. ``paper`` keeps all.
    """

    thresholds: tuple[float, ...] = (0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
    min_patches: int = 4
    coverage: float = 0.9
    nms_iou: float = 0.9
    nms_window: int = 0
    refine: Refine = "guided"
    preset: Preset = "default"
    rules: tuple[Rule, ...] = (Rule(), Rule(0.15), Rule(0.4), Rule(0.1, 1.0), Rule(0.3, 0.5))
    max_masks: int = 1000

    def __post_init__(self) -> None:
        thresholds = tuple(sorted({float(value) for value in self.thresholds}, reverse=True))
        if not thresholds or not all(-1 <= value <= 1 for value in thresholds):
            raise UsageError("thresholds must be one or more cosines from -1 to 1")
        object.__setattr__(self, "thresholds", thresholds)
        if self.min_patches < 1:
            raise UsageError(f"min_patches must be at least 1, not {self.min_patches}")
        for name in ("coverage", "nms_iou"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} must be from 0 to 1, not {getattr(self, name)}")
        if self.nms_window < 0 or self.max_masks < 0:
            raise UsageError("nms_window and max_masks must not be negative")
        if not self.rules or min(map(min, self.rules)) < 0:
            raise UsageError("rules must be one or more pairs of exponents, none negative")
        if self.refine not in ("none", "guided"):
            raise UsageError(f"unknown refinement {self.refine!r}: choose none or guided")
        if self.preset not in ("default", "paper"):
            raise UsageError(f"unknown preset {self.preset!r}: choose default or paper")
