"""Configuration of a segmenter; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from unsam_cli.errors import UsageError
from unsam_cli.settings import Settings, setting

CONDINST = "condinst"
ARCHITECTURES = ("mask2former", "eomt", CONDINST)
RANDOM = "random"
"""Name of random weights, in the place of a checkpoint."""
SHORT_SIDE, LONGEST_SIDE = 1024, 2048
"""Sides of the network's input at inference, in pixels, as published for UnSAM."""
PAPER_QUERIES = 2000
MASK2FORMER_LAYERS = 9
EOMT_LAYERS = 4

network = partial(setting, group="Network")


@dataclass(frozen=True)
class SegmenterConfig(Settings):
    """Settings of a whole-image segmenter.

    Mask2Former: a convolutional or hierarchical backbone, a deformable pixel decoder and a masked
    transformer decoder. EoMT: a plain vision transformer whose last blocks also process the
    queries. CondInst: a convolutional backbone and a pyramid whose cells are the queries.

    Raises
    ------
    UsageError
        The architecture is unknown, or a number is outside its range.
    """

    architecture: str = network(
        "mask2former",
        "mask2former: feature pyramid and masked transformer decoder. eomt: plain vision "
        "transformer. condinst: every cell of a feature pyramid is a query; learns from scratch.",
        choices=ARCHITECTURES,
    )
    backbone: str = network(
        "resnet50",
        "A timm feature network, or a Hugging Face backbone (hub id or ./FOLDER). eomt "
        "needs a timm vision transformer with position embeddings. condinst takes a timm feature "
        "network, or unet, a small one of its own.",
        metavar="NAME",
    )
    backbone_weights: str | None = network(
        None,
        "Checkpoint or hub id of the initial weights, or random.  [default: DINO's for "
        "resnet50, else the backbone's own]",
        metavar="PATH|ID|random",
    )
    queries: int = network(PAPER_QUERIES, "Number of predicted masks per image.", least=1)
    hidden: int = network(
        256,
        "Channels of the decoders and of the mask features; a multiple of 32. All widths of "
        "condinst are proportional to it.",
        least=32,
    )
    pixel_layers: int = network(6, "Number of layers of the pixel decoder.", least=1)
    decoder_layers: int | None = network(
        None,
        "Number of layers that process queries.  [default: 9; for eomt the last 4 blocks]",
        least=1,
    )
    short_side: int = network(
        SHORT_SIDE, "Short side to which images are resized for inference, in pixels.", least=1
    )
    longest_side: int = network(
        LONGEST_SIDE, "Maximum of the longer side for inference, in pixels.", least=1
    )
    scale: float = network(
        0.0,
        "Resize images by this factor, not to --short-side: for inference up to --longest-side, "
        "for training times a random factor from --jitter; 0 is off.",
        least=0,
        metavar="F",
    )
    least_side: int = network(
        1,
        "Minimum side to which images are padded for inference, in pixels. A network "
        "trained only on padded squares needs the side of these squares.",
        least=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden % 32:
            raise UsageError(f"hidden is {self.hidden}; it must be a multiple of 32")
        if self.longest_side < self.short_side:
            raise UsageError(
                f"longest_side {self.longest_side} is less than short_side {self.short_side}"
            )

    @property
    def layers(self) -> int:
        """Number of layers that process queries."""
        if self.decoder_layers is not None:
            return self.decoder_layers
        return EOMT_LAYERS if self.architecture == "eomt" else MASK2FORMER_LAYERS

    @property
    def image_size(self) -> int:
        """Side of the square whose position embeddings EoMT learns, in pixels."""
        return self.short_side
