"""What a segmenter is made of; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from unsam_cli.errors import UsageError

ARCHITECTURES = ("mask2former", "eomt")
RANDOM = "random"
"""In the place of weights: none, but random numbers."""
SHORT_SIDE, LONGEST_SIDE = 1024, 2048
"""Pixels of the network's input at inference, as published for UnSAM."""
PAPER_QUERIES = 2000
MASK2FORMER_LAYERS = 9
EOMT_LAYERS = 4


@dataclass(frozen=True)
class SegmenterConfig:
    """A whole-image segmenter.

    Parameters
    ----------
    architecture : {"mask2former", "eomt"}
        Mask2Former: a convolutional or hierarchical backbone, a deformable pixel decoder and a
        masked transformer decoder. EoMT: a plain vision transformer whose last blocks see the
        queries, too.
    backbone : str
        Of Mask2Former ``resnet50``, any timm feature network, or the hub id or folder (with a
        slash) of a Hugging Face backbone; of EoMT a timm vision transformer with position
        embeddings.
    backbone_weights : str, optional
        A checkpoint file, a hub id, or ``random``; by default DINO's for ``resnet50``, else the
        backbone's own pretrained weights.
    queries : int
        Number of masks that are predicted.
    hidden : int
        Mask2Former: channels of both decoders and of the mask features.
    pixel_layers : int
        Mask2Former: layers of deformable attention.
    decoder_layers : int, optional
        Layers with queries; by default 9, of EoMT the last 4 blocks.
    image_size : int
        EoMT: side in pixels of the square whose position embeddings are learnt.
    short_side, longest_side : int
        Pixels of the network's input at inference.
    least_side : int
        Sides that are shorter, in pixels, are padded to it. A network that learnt from padded
        squares alone knows places by them.

    Raises
    ------
    UsageError
        Unknown architecture, or a number that cannot be.
    """

    architecture: str = "mask2former"
    backbone: str = "resnet50"
    backbone_weights: str | None = None
    queries: int = PAPER_QUERIES
    hidden: int = 256
    pixel_layers: int = 6
    decoder_layers: int | None = None
    image_size: int = SHORT_SIDE
    short_side: int = SHORT_SIDE
    longest_side: int = LONGEST_SIDE
    least_side: int = 1

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise UsageError(
                f"unknown architecture {self.architecture!r}; one of {', '.join(ARCHITECTURES)}"
            )
        for name in ("queries", "pixel_layers", "layers", "image_size", "short_side", "least_side"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; at least 1")
        if self.hidden < 32 or self.hidden % 32:
            raise UsageError(f"hidden is {self.hidden}; a multiple of 32")
        if self.longest_side < self.short_side:
            raise UsageError(
                f"longest_side {self.longest_side} is less than short_side {self.short_side}"
            )

    @property
    def layers(self) -> int:
        """Layers with queries."""
        if self.decoder_layers is not None:
            return self.decoder_layers
        return EOMT_LAYERS if self.architecture == "eomt" else MASK2FORMER_LAYERS
