"""What `extract-features` can be told; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from unsam_cli.settings import Settings, setting


@dataclass(frozen=True)
class BackboneSettings(Settings):
    """Which network, and where it runs: see :func:`~unsam_cli.backbones.create_backbone`."""

    backbone: str = setting(
        "builtin",
        "The built-in weight-free descriptor, any timm model with patch tokens, or sam for "
        "finetune-sam.",
        metavar="NAME",
    )
    weights: str | None = setting(
        None,
        "A checkpoint (original DINO .pth, timm, safetensors; of sam: SAM or SAM 2) or a hub id.  "
        "[default: the model's own]",
        metavar="PATH|ID",
        results=False,
    )
    facet: Literal["key", "query", "value", "token"] = setting(
        "key",
        "Which vectors of the attention layer.",
        choices=("key", "query", "value", "token"),
    )
    layer: int = setting(-1, "Which block; negative counts from the end.")
    device: str = "auto"
    dtype: str = "float32"


@dataclass(frozen=True)
class PlanSettings(Settings):
    """How records are laid out.

    References
    ----------
    X. Wang et al., "Cut and Learn for Unsupervised Object Detection and Instance Segmentation",
    2023, section 4, for `square`.
    """

    whole_image: bool = setting(
        False, "With --regions: add one record for the whole image.", group="Input"
    )
    size: int = setting(
        480,
        "Longest side of a whole image after resizing, in pixels.",
        least=1,
        default_text="480; 640 for the built-in descriptor",
    )
    square: bool = setting(False, "Squash a whole image to SIZE x SIZE, as MaskCut does.")
    region_size: int = setting(
        256, "Side that the crop of a mask's box is resized to, in pixels.", least=1
    )


@dataclass(frozen=True)
class ExtractSettings(Settings):
    """What to extract, and how.

    Parameters
    ----------
    plan : PlanSettings
        Records and their sizes.
    preview : bool
        Add a small JPEG of each image.
    batch_size : int
        Crops of one size that the network is given at once.
    jobs : int
        Threads for everything but the network.
    """

    plan: PlanSettings = field(default_factory=PlanSettings)
    rank: int = setting(
        0,
        "Keep the best rank-D approximation of each record's Gram matrix; 0 keeps all.",
        least=0,
        metavar="D",
        option="project",
    )
    storage_dtype: Literal["float16", "float32"] = setting(
        "float16",
        "Type of the stored features.",
        choices=("float16", "float32"),
        group="Output",
    )
    preview: bool = True
    batch_size: int = 8
    jobs: int = 1
