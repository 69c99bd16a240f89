"""What `conquer` can be told; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from unsam_cli.errors import UsageError
from unsam_cli.settings import Settings, setting

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
class ConquerSettings(Settings):
    """Settings of the conquer step.

    The ``paper`` preset emits the clusters at each of the thresholds, compares masks within a
    window of 5, grows the plain tree alone and keeps all masks; ``default`` emits what exists
    anywhere between the highest and the lowest threshold.

    Attributes
    ----------
    rules : tuple of Rule
        How strongly small clusters merge first, and those without a sharp border between them; one
        tree for each: different trees know different objects.
    """

    thresholds: tuple[float, ...] = setting(
        (0.6, 0.5, 0.4, 0.3, 0.2, 0.1),
        "Cosine similarities down to which patches are merged, a level of masks each.",
        least=-1,
        most=1,
        metavar="LIST",
    )
    min_patches: int = setting(4, "Smallest size of a mask, in patches.", least=1)
    coverage: float = setting(
        0.9, "Smallest fraction of a mask that lies in its region.", least=0, most=1
    )
    nms_iou: float = setting(
        0.9, "Masks that overlap a better one by more are dropped.", least=0, most=1
    )
    nms_window: int = setting(
        0, "Compare a mask only with the next WINDOW - 1 by size; 0 compares all.", least=0
    )
    max_masks: int = setting(
        1000,
        "Most masks per image, the best; 0 keeps all, and so does --preset paper.",
        least=0,
    )
    refine: Refine = setting(
        "guided", "How borders follow the edges of the picture.", choices=get_args(Refine)
    )
    preset: Preset = setting(
        "default",
        "The better method, or the published one with its quirks.",
        choices=get_args(Preset),
    )
    rules: tuple[Rule, ...] = (Rule(), Rule(0.15), Rule(0.4), Rule(0.1, 1.0), Rule(0.3, 0.5))

    def __post_init__(self) -> None:
        super().__post_init__()
        thresholds = tuple(sorted({float(value) for value in self.thresholds}, reverse=True))
        if not thresholds:
            raise UsageError("thresholds is empty; give one or more cosines")
        object.__setattr__(self, "thresholds", thresholds)
        if not self.rules or min(map(min, self.rules)) < 0:
            raise UsageError("rules must be one or more pairs of exponents, none negative")
