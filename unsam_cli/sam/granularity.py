"""Granularity of a mask, a number from 0.1 to 1, as an additional token of the prompt."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

FOURIER_VALUES = 128
TEMPERATURE = 100.0


class GranularityPrompt(nn.Module):
    """Embeds granularities: Fourier features, three linear layers, and a learnt type embedding.

    Parameters
    ----------
    hidden : int
        Number of channels C of the decoder.
    generator : torch.Generator
        Draws the initial weights.

    References
    ----------
    UnSAMv2, arXiv 2511.13714, 2025.
    """

    def __init__(self, hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(FOURIER_VALUES, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
        )
        self.kind = nn.Parameter(torch.randn(hidden, generator=generator) * 0.02)
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                bound = 1 / math.sqrt(layer.in_features)
                nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
                nn.init.zeros_(layer.bias)

    def forward(self, granularity: Tensor) -> Tensor:
        """Embed granularities (P,), from 0.1 (finest) to 1 (coarsest), as (P, C)."""
        embedded: Tensor = self.layers(fourier_features(granularity).to(self.kind.dtype))
        return embedded + self.kind


def fourier_features(values: Tensor) -> Tensor:
    """Compute sines and cosines of values (P,), 0 to 1, at wavelengths from 1 to almost 100.

    Returns (P, 128) float32, sine and cosine in turns.
    """
    steps = torch.arange(FOURIER_VALUES // 2, device=values.device, dtype=torch.float32)
    wavelengths = TEMPERATURE ** (2 * steps / FOURIER_VALUES)
    angles = 2 * math.pi * values.float()[:, None] / wavelengths
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)
