"""Settings of `conquer`; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

from unsam_cli.errors import UsageError
from unsam_cli.refinement.settings import Refine, refine_setting
from unsam_cli.settings import Settings, setting

Preset = Literal["default", "tidy", "paper"]

TIDY = {"nms_iou": 0.7, "max_masks": 50}
"""Defaults of other options with the preset ``tidy``; whoever names an option chooses it."""

UNGUIDED = ("paper", "guided")
"""Preset and refinement for which borders follow no picture."""

PAPER_WINDOW = 5
"""Window of the NMS: the published code compares a mask with the next four by area."""


class Rule(NamedTuple):
    """How one tree is made; the defaults are the published rule.

    Attributes
    ----------
    size, border : float
        The exponents `size_exponent` and `border_exponent` of `merge_tree`.
    grid : float
        Rows and columns of the grid of patches, as a share of those of the features.
    """

    size: float = 0.0
    border: float = 0.0
    grid: float = 1.0


@dataclass(frozen=True)
class ConquerSettings(Settings):
    """Settings of the conquer step.

    The preset ``paper`` emits the clusters at each of the thresholds, compares masks within a
    window of 5, makes only the tree of the published rule, and keeps all masks. ``default`` emits
    the clusters that exist anywhere between the highest and the lowest threshold. ``tidy``
    is ``default`` with other defaults, which `of` and the command line apply.

    Attributes
    ----------
    rules : tuple of Rule
        How strongly the size of clusters and the sharpness of borders between them delay merges,
        and on which grid. Each rule gives one tree. Different trees find different objects. Tiles
        have only the trees of the full grid, of which there must be one.
    region_rules : tuple of Rule
        The same for regions, if the whole image is a record, too; otherwise they have `rules`.
    """

    thresholds: tuple[float, ...] = setting(
        (0.6, 0.5, 0.4, 0.3, 0.2, 0.1),
        "Cosine similarities at which merging stops; each gives one level of masks.",
        least=-1,
        most=1,
        metavar="LIST",
    )
    min_patches: int = setting(4, "Minimum size of a mask, in patches.", least=1)
    coverage: float = setting(
        0.9, "Minimum fraction of a mask that lies inside its region.", least=0, most=1
    )
    nms_iou: float = setting(
        0.9, "Drop masks whose IoU with a better mask is higher.", least=0, most=1
    )
    nms_window: int = setting(
        0, "Compare each mask only with the next WINDOW - 1 masks by size; 0 compares all.", least=0
    )
    max_masks: int = setting(
        1000,
        "Maximum number of masks per image, the best first; 0 keeps all, as does --preset paper.",
        least=0,
    )
    refine: Refine = refine_setting("guided")
    preset: Preset = setting(
        "default",
        "default: the improved method, for recall. tidy: the same with --nms-iou 0.7 and "
        "--max-masks 50, few masks for people to look at. paper: the published method, quirks "
        "included.",
        choices=get_args(Preset),
    )
    rules: tuple[Rule, ...] = (
        *(Rule(0.15), Rule(0.4), Rule(0.1, 1.0), Rule(0.3, 0.5)),
        *(Rule(size, 0.0, 0.6) for size in (0.0, 0.15, 0.4)),
        *(Rule(0.1, 1.0, 0.6), Rule(0.3, 0.5, 0.6)),
        *(Rule(0.15, 0.0, 0.36), Rule(0.1, 1.0, 0.36)),
    )
    region_rules: tuple[Rule, ...] = (Rule(0.4), Rule(0.3, 0.5))

    @classmethod
    def of(cls, **options: Any) -> ConquerSettings:
        """Make settings in which the preset ``tidy`` sets the options that are not named."""
        return cls(**{**(TIDY if options.get("preset") == "tidy" else {}), **options})

    def __post_init__(self) -> None:
        super().__post_init__()
        thresholds = tuple(sorted({float(value) for value in self.thresholds}, reverse=True))
        if not thresholds:
            raise UsageError("thresholds is empty; give one or more cosines")
        object.__setattr__(self, "thresholds", thresholds)
        for name in ("rules", "region_rules"):
            rules = tuple(Rule(*rule) for rule in getattr(self, name))
            if not any(rule.grid == 1 for rule in rules) or min(map(min, rules)) < 0:
                raise UsageError(f"{name} need one with the grid 1, and no exponent below 0")
            if not all(0 < rule.grid <= 1 for rule in rules):
                raise UsageError(f"the grid of one of the {name} is not above 0 and at most 1")
            object.__setattr__(self, name, rules)
