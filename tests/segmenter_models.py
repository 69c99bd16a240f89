"""Tiny segmenters with random weights, and pictures for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from unsam_cli.models.loading import create_segmenter
from unsam_cli.models.segmenter import Segmenter
from unsam_cli.models.settings import SegmenterConfig

MASK2FORMER = SegmenterConfig(
    backbone="test_resnet",
    backbone_weights="random",
    queries=20,
    hidden=32,
    pixel_layers=2,
    decoder_layers=4,
)
# As small as can be: it takes milliseconds.
TINY = replace(
    MASK2FORMER, queries=12, pixel_layers=1, decoder_layers=1, short_side=64, longest_side=128
)
EOMT = SegmenterConfig(
    architecture="eomt",
    backbone="test_vit",
    backbone_weights="random",
    queries=20,
    decoder_layers=2,
    short_side=64,
)
CONDINST = SegmenterConfig(
    architecture="condinst", backbone="unet", queries=20, hidden=32, scale=1.5
)
CONFIGS = {"mask2former": MASK2FORMER, "eomt": EOMT, "condinst": CONDINST}


def stir(segmenter: Segmenter) -> Segmenter:
    """Move all weights a little: new networks have zeros, and masks that are alike."""
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in segmenter.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=rng))
    return segmenter


def make_segmenter(
    architecture: str = "mask2former", *, seed: int = 0, shallow: bool = False
) -> Segmenter:
    """Return a segmenter in evaluation mode, whose masks differ; or one with fewer layers."""
    config = CONFIGS[architecture]
    if shallow and architecture == "mask2former":
        config = replace(config, pixel_layers=1, decoder_layers=3)  # one layer for each level
    return stir(create_segmenter(config, seed=seed)).eval()


def make_pixels(height: int = 64, width: int = 96, batch: int = 2, **options: Any) -> torch.Tensor:
    """Return random pictures."""
    rng = torch.Generator().manual_seed(2)
    return torch.randn(batch, 3, height, width, generator=rng, **options)
