"""Image embedding of SAM or SAM 2."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle


@dataclass(frozen=True)
class Embedding:
    """Output of the image encoder for B images.

    Attributes
    ----------
    image : (B, C, h, w) tensor
        Image features.
    high : tuple of tensors
        For SAM 2, features at four times and twice the resolution: (B, C / 8, 4 h, 4 w) and
        (B, C / 4, 2 h, 2 w). Empty for SAM.
    """

    image: Tensor
    high: tuple[Tensor, ...] = ()

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, index: int) -> Embedding:
        """Return the embedding of one image, with B = 1."""
        rows = slice(index, index + 1)
        return Embedding(self.image[rows], tuple(features[rows] for features in self.high))

    def to(self, device: str | torch.device) -> Embedding:
        """Move all tensors to a device."""
        return Embedding(
            self.image.to(device, non_blocking=True),
            tuple(features.to(device, non_blocking=True) for features in self.high),
        )

    def pin_memory(self) -> Embedding:
        """Copy all tensors to page-locked memory, from which a GPU copies fastest."""
        return Embedding(self.image.pin_memory(), tuple(f.pin_memory() for f in self.high))

    def to_grid(self) -> Tensor:
        """Join all features on the coarsest grid.

        Returns
        -------
        (B, h, w, D) tensor
            Channels of `image`, then of `high`, where the pixels of a cell follow each other within
            a channel (pixel unshuffle). D is C for SAM and C + 2 C + C for SAM 2.
        """
        rows = self.image.shape[-2]
        high = [pixel_unshuffle(features, features.shape[-2] // rows) for features in self.high]
        return torch.cat([self.image, *high], dim=1).permute(0, 2, 3, 1)

    @classmethod
    def from_grid(cls, grid: Tensor, channels: int) -> Embedding:
        """Invert :meth:`to_grid`: split a grid (B, h, w, D), where C is `channels`."""
        maps = grid.permute(0, 3, 1, 2)
        image, high = maps[:, :channels], maps[:, channels:]
        parts = [high[:, : 2 * channels], high[:, 2 * channels :]] if high.shape[1] else []
        finer = [pixel_shuffle(part, k) for part, k in zip(parts, (4, 2), strict=False)]
        return cls(image.contiguous(), tuple(finer))
