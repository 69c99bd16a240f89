"""Settings of `extract-features`; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from unsam_cli.errors import UsageError
from unsam_cli.settings import Settings, setting

AUTO = "auto"
OVERLAP = 0.3
"""Usual overlap of neighbouring tiles, as a fraction of a tile."""
OF_PARTS = ("region_size", "tile", "overlap")
"""Fields of `PlanSettings` that only matter where parts of an image are seen, not for `divide`."""


@dataclass(frozen=True)
class BackboneSettings(Settings):
    """Which network: see :func:`~unsam_cli.backbones.create_backbone`."""

    backbone: str = setting(
        "builtin",
        "builtin (a descriptor without weights), any timm model with patch tokens, or sam "
        "(features for finetune-sam).",
        metavar="NAME",
    )
    weights: str | None = setting(
        None,
        "Checkpoint (original DINO .pth, timm or safetensors; for sam: SAM or SAM 2) or "
        "hub id.  [default: the model's own]",
        metavar="PATH|ID",
        results=False,
    )
    facet: Literal["key", "query", "value", "token"] = setting(
        "key",
        "Which vectors of the attention layer to extract.",
        choices=("key", "query", "value", "token"),
    )
    layer: int = setting(-1, "Index of the transformer block; negative counts from the end.")


@dataclass(frozen=True)
class PlanSettings(Settings):
    """Which records are extracted, and at which size.

    Raises
    ------
    UsageError
        A value is outside its range, or `tile` is neither a number nor ``auto``.

    References
    ----------
    X. Wang et al., "Cut and Learn for Unsupervised Object Detection and Instance Segmentation",
    2023, section 4: source of `square`.
    """

    whole_image: bool = setting(
        False, "With --regions: also add one record for the whole image.", group="Input"
    )
    size: int = setting(
        480,
        "Longest side of a whole image after resizing, in pixels.",
        least=1,
        default_text="480; 640 for the built-in descriptor",
    )
    square: bool = setting(
        False,
        "Resize whole images to SIZE x SIZE without keeping the aspect ratio, as MaskCut does.",
    )
    region_size: int = setting(
        256, "Side length to which the crop around each mask is resized, in pixels.", least=1
    )
    tile: str | None = setting(
        None,
        "Also add a record for each of the overlapping tiles of SIZE x SIZE pixels of the image, "
        "seen at --size; auto: tiles of half the image's size, of a quarter, ..., until a tile is "
        "seen at its full resolution.",
        metavar="SIZE|auto",
    )
    overlap: float | None = setting(
        None,
        "Least overlap of neighbouring tiles, as a fraction of a tile.  [default: 0.3]",
        least=0,
        below=1,
        metavar="F",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tile not in (None, AUTO) and not (self.tile.isdecimal() and int(self.tile) > 0):
            raise UsageError(f"a tile of {self.tile!r} is not a number of pixels; give 500 or auto")
        if self.overlap is not None and self.tile is None:
            raise UsageError("--overlap needs --tile")

    @property
    def shared(self) -> float:
        """Least overlap of neighbouring tiles, as a fraction of a tile."""
        return OVERLAP if self.overlap is None else self.overlap


@dataclass(frozen=True)
class ExtractSettings(Settings):
    """What to extract, and how.

    Parameters
    ----------
    plan : PlanSettings
        Records and their sizes.
    """

    plan: PlanSettings = field(default_factory=PlanSettings)
    rank: int = setting(
        0,
        "Reduce each record to the best rank-D approximation of its Gram matrix; 0 keeps "
        "all channels.",
        least=0,
        metavar="D",
        option="project",
    )
    storage_dtype: Literal["float16", "float32"] = setting(
        "float16",
        "Data type of the stored features.",
        choices=("float16", "float32"),
        group="Output",
    )
