"""The pixel decoder of UnSAM's promptable model: from a backbone's maps to four levels of features.

Names of modules are those of the published checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention as DeformableAttention,
)

from unsam_cli.deformable import attend, in_chunks, project, to_maps
from unsam_cli.sam.semantic.config import GROUPS, HEADS, LEVELS, POINTS, SemanticConfig

_TEMPERATURE = 10000.0


@dataclass(frozen=True)
class Pyramid:
    """What the decoder needs of B images.

    Attributes
    ----------
    memory : (B, N, C) tensor
        Features of all levels, at strides 8, 16, 32 and 64, level by level and row by row.
    shapes : tuple of (h_i, w_i)
        Sizes of the levels.
    features : (B, C, h, w) tensor
        Mask features at stride 4.
    kept : list
        Projections of `memory` that the layers of the decoder keep for further clicks.
    """

    memory: Tensor
    shapes: tuple[tuple[int, int], ...]
    features: Tensor
    kept: list[list[Tensor]] = field(default_factory=list, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.memory)

    def __getitem__(self, index: int) -> Pyramid:
        """Return the features of one image, with B = 1."""
        rows = slice(index, index + 1)
        return Pyramid(self.memory[rows], self.shapes, self.features[rows])

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the network's input with its padding, in pixels."""
        height, width = self.features.shape[-2:]
        return 4 * height, 4 * width


class PixelDecoder(nn.Module):
    """Six layers of deformable attention over four levels, and mask features at stride 4."""

    def __init__(self, config: SemanticConfig) -> None:
        super().__init__()
        width, (finest, *widths) = config.hidden, config.widths
        convolutions: list[nn.Module] = [nn.Conv2d(c, width, 1) for c in widths]
        convolutions.append(nn.Conv2d(widths[-1], width, 3, stride=2, padding=1))
        self.input_proj = nn.ModuleList(
            nn.Sequential(convolution, nn.GroupNorm(GROUPS, width)) for convolution in convolutions
        )
        self.transformer = Encoder(config)
        self.mask_features = nn.Conv2d(width, width, 1)
        self.adapter_1 = Normed(finest, width, 1)
        self.layer_1 = Normed(width, width, 3)

    def forward(self, maps: Sequence[Tensor]) -> Pyramid:
        """Turn maps (B, C_i, h_i, w_i) at strides 4, 8, 16 and 32 into a pyramid."""
        finest, *coarser = maps
        levels = [f(x) for f, x in zip(self.input_proj, [*coarser, coarser[-1]], strict=True)]
        shapes = [(int(x.shape[-2]), int(x.shape[-1])) for x in levels]
        memory = self.transformer(levels)
        eighth = to_maps(memory, shapes)[0]
        larger = functional.interpolate(
            eighth, finest.shape[-2:], mode="bilinear", align_corners=False
        )
        features = self.mask_features(self.layer_1(self.adapter_1(finest) + larger).relu())
        return Pyramid(memory, tuple(shapes), features)


class Normed(nn.Conv2d):
    """A convolution without bias that keeps the size, and a group normalisation."""

    def __init__(self, inputs: int, outputs: int, size: int) -> None:
        super().__init__(inputs, outputs, size, padding=size // 2, bias=False)
        self.norm = nn.GroupNorm(GROUPS, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, h, w)."""
        normed: Tensor = self.norm(super().forward(x))
        return normed


class Encoder(nn.Module):
    """Layers in which all positions attend to all levels."""

    def __init__(self, config: SemanticConfig) -> None:
        super().__init__()
        self.level_embed = nn.Parameter(torch.randn(LEVELS, config.hidden))
        layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.pixel_layers))
        self.encoder = nn.ModuleDict({"layers": layers})

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Turn maps (B, C, h_i, w_i) into positions (B, N, C)."""
        shapes = [x.shape[-2:] for x in levels]
        positions = torch.cat(
            [sine(x) + level for x, level in zip(levels, self.level_embed, strict=True)], 1
        )
        reference = torch.cat([_centres(x) for x in levels], 1)
        hidden = torch.cat([x.flatten(2).transpose(1, 2) for x in levels], 1)
        for layer in self.encoder["layers"].children():
            hidden = layer(hidden, positions, reference, shapes)
        return hidden


class EncoderLayer(nn.Module):
    """Deformable attention and a feed-forward network, each followed by a normalisation."""

    def __init__(self, config: SemanticConfig) -> None:
        super().__init__()
        width = config.hidden
        self.self_attn = DeformableAttention(width, HEADS, LEVELS, POINTS)
        self.norm1 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, config.feedforward)
        self.linear2 = nn.Linear(config.feedforward, width)
        self.norm2 = nn.LayerNorm(width)

    def forward(
        self, hidden: Tensor, positions: Tensor, reference: Tensor, shapes: Sequence[Sequence[int]]
    ) -> Tensor:
        """Update positions (B, N, C), whose encodings are (1, N, C) and places (1, N, 2)."""
        values = project(self.self_attn, hidden, shapes)

        def update(hidden: Tensor, positions: Tensor, reference: Tensor) -> Tensor:
            attended = attend(self.self_attn, hidden + positions, reference, values)
            hidden = self.norm1(hidden + attended)
            updated: Tensor = self.norm2(hidden + self.linear2(self.linear1(hidden).relu()))
            return updated

        return in_chunks(update, hidden, positions, reference)


def waves(places: Tensor, count: int) -> Tensor:
    """Encode numbers as `count` sines and cosines in turns, (..., count)."""
    exponents = torch.arange(count // 2, device=places.device, dtype=torch.float32) * 2 / count
    angles = places[..., None] / _TEMPERATURE**exponents
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)


def sine(like: Tensor) -> Tensor:
    """Encode the places of a map (B, C, h, w), (1, h w, C): rows first, then columns."""
    channels, height, width = like.shape[1:]
    rows, columns = (
        torch.arange(1, n + 1, device=like.device) / (n + 1e-6) * 2 * math.pi
        for n in (height, width)
    )
    y = waves(rows, channels // 2)[:, None].expand(-1, width, -1)
    x = waves(columns, channels // 2)[None].expand(height, -1, -1)
    return torch.cat((y, x), dim=-1).flatten(0, 1)[None].to(like.dtype)


def _centres(like: Tensor) -> Tensor:
    """Return x and y of the centres of a map's pixels, (1, h w, 2), as fractions of the image."""
    rows, columns = ((torch.arange(n, device=like.device) + 0.5) / n for n in like.shape[-2:])
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack((x, y), dim=-1).flatten(0, 1)[None].to(like.dtype)
