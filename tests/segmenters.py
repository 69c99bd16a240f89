"""Segmenters with known answers, and one that can be saved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from segmenter_models import TINY
from torch import Tensor, nn
from torch.nn import functional

from unsam_cli.models.inputs import MEAN, STD
from unsam_cli.models.predictions import Predictions
from unsam_cli.models.segmenter import Segmenter
from unsam_cli.models.settings import SegmenterConfig


class FakeSegmenter(Segmenter):
    """What the prediction needs of a segmenter; `calls` are the shapes of its inputs."""

    def __init__(self, *, short: int = 64, longest: int = 128) -> None:
        nn.Module.__init__(self)
        self.multiple = 32
        self.config = SegmenterConfig(short_side=short, longest_side=longest)
        self.weight = nn.Parameter(torch.zeros(1))
        self.calls: list[tuple[int, ...]] = []

    def forward(self, pixels: Tensor, seeds: Sequence[int] | None = None) -> Predictions:
        assert not torch.is_grad_enabled()
        assert not any(side % self.multiple for side in pixels.shape[-2:])
        self.calls.append(tuple(pixels.shape))
        return self.predict(pixels)

    def predict(self, pixels: Tensor) -> Predictions:
        raise NotImplementedError


class RandomSegmenter(FakeSegmenter):
    """Random queries on the colours of blocks, in eighths: products of factors are exact."""

    def __init__(self, queries: int = 20, channels: int = 8, seed: int = 0, **sides: int) -> None:
        super().__init__(**sides)
        rng = torch.Generator().manual_seed(seed)
        self.class_logits = torch.randn(queries, 2, generator=rng)
        self.embeddings = _eighths(torch.randn(queries, channels, generator=rng))
        self.kernel = torch.randn(channels, 3, 4, 4, generator=rng) / 4

    def predict(self, pixels: Tensor) -> Predictions:
        features = _eighths(functional.conv2d(pixels, self.kernel, stride=4))
        of_all = (len(pixels), -1, -1)
        return Predictions(
            self.class_logits.expand(1, *of_all), self.embeddings.expand(1, *of_all), features
        )


def _eighths(x: Tensor) -> Tensor:
    return torch.round(x * 8) / 8


class ColourSegmenter(FakeSegmenter):
    """One query for each colour of a palette: its mask is where the image has that colour."""

    def __init__(self, palette: list[tuple[int, int, int]], **sides: int) -> None:
        super().__init__(**sides)
        self.palette = torch.tensor(palette, dtype=torch.float32)

    def predict(self, pixels: Tensor) -> Predictions:
        rgb = pixels * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]
        blocks = functional.avg_pool2d(rgb, 4)
        apart = (blocks[:, None] - self.palette[None, :, :, None, None]).norm(dim=2)
        n, batch = len(self.palette), len(pixels)
        class_logits = torch.tensor([3.0, -3.0]).expand(1, batch, n, 2)
        return Predictions(class_logits, torch.eye(n).expand(1, batch, n, n), 1 - apart / 110)


def segment_naively(
    segmenter: Any, rgb: NDArray[np.uint8], short: int, longest: int, *, most: int = 1000
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.int64]]:
    """Masks (n, H, W), scores and queries as published: all masks at full size, then the best."""
    from PIL import Image

    height, width, _ = rgb.shape
    scale = min(short / min(height, width), longest / max(height, width))
    h, w = int(height * scale + 0.5), int(width * scale + 0.5)
    resized = np.array(Image.fromarray(rgb).resize((w, h), Image.Resampling.BILINEAR))
    pixels = torch.from_numpy(resized).permute(2, 0, 1).float()
    pixels = (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    padded = [side + -side % segmenter.multiple for side in (h, w)]
    pixels = functional.pad(pixels, (0, padded[1] - w, 0, padded[0] - h))[None]
    with torch.inference_mode():
        predictions = segmenter(pixels)
        logits = predictions.mask_logits()
        logits = functional.interpolate(logits, padded, mode="bilinear", align_corners=False)
        logits = functional.interpolate(
            logits[..., :h, :w], (height, width), mode="bilinear", align_corners=False
        )[0]
        class_scores = predictions.class_logits[-1, 0].softmax(-1)[:, 0]
        best = class_scores.topk(min(most, len(class_scores))).indices
        logits = logits[best]
        masks = logits > 0
        inside = (logits.sigmoid() * masks).flatten(1).sum(1)
        scores = class_scores[best] * inside / (masks.flatten(1).sum(1) + 1e-6)
    return masks.numpy(), scores.double().numpy(), best.numpy()


def save_tiny(folder: Path, *, seed: int = 0) -> None:
    """Save a Mask2Former with random weights that takes milliseconds."""
    from unsam_cli.models.loading import create_segmenter, save_segmenter

    save_segmenter(create_segmenter(TINY, seed=seed), folder, history=[{"command": "unsam train"}])
