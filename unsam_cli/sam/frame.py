"""How the pixels of an image and of the network's square input correspond."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from unsam_cli.rle import Axis

_MEAN = (123.675, 116.28, 103.53)
_STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class Frame:
    """Where an image lies in the network's input.

    Parameters
    ----------
    size : (H, W)
        Of the image in pixels.
    inner : (h, w)
        Of the image in the network's input; the rest, right and below, is padding.
    side : int
        Of the input, pixels.
    square : bool
        Whether the aspect ratio is ignored, as SAM 2 does; else the longest side fits.
    """

    size: tuple[int, int]
    inner: tuple[int, int]
    side: int
    square: bool = False

    @classmethod
    def of(cls, size: tuple[int, int], side: int, *, square: bool = False) -> Frame:
        """Fit an image of `size` into the input."""
        if square:
            return cls(size, (side, side), side, square=True)
        scale = side / max(size)
        height, width = (max(int(length * scale + 0.5), 1) for length in size)
        return cls(size, (height, width), side)

    def pixels(self, image: NDArray[np.uint8]) -> Tensor:
        """Resize and normalise an image.

        Parameters
        ----------
        image : (H, W, 3) uint8
            RGB.

        Returns
        -------
        (3, S, S) float32 tensor
            Padded with zeros.
        """
        return network_input(self.resized(image), self.side)

    def resized(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resize an image, (H, W, 3) uint8 RGB, to its place in the input: (h, w, 3)."""
        height, width = self.inner
        if image.shape[:2] == (height, width):
            return image
        resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
        return np.array(resized)

    def inwards(self, points: Tensor) -> Tensor:
        """Bring coordinates x, y from the image to the input; (..., 2) or boxes (..., 4)."""
        scale = [self.inner[1] / self.size[1], self.inner[0] / self.size[0]]
        scaling = torch.tensor(scale, dtype=torch.float64, device=points.device)
        pairs = points.double().reshape(*points.shape[:-1], -1, 2) * scaling
        return pairs.reshape(points.shape).float()

    def axes(self, low: int) -> tuple[Axis, Axis]:
        """Return how rows and columns of low x low logits become those of the image.

        Notes
        -----
        SAM enlarges to the input's side, removes the padding and resizes to the image; SAM 2
        resizes to the image at once.
        """
        rows, columns = (
            Axis.of(low, m, through=None if self.square else (self.side, kept))
            for m, kept in zip(self.size, self.inner, strict=True)
        )
        return rows, columns


def network_input(resized: NDArray[np.uint8], side: int) -> Tensor:
    """Normalise what :meth:`Frame.resized` gave and pad it with zeros: (3, S, S) float32."""
    height, width, _ = resized.shape
    pixels = torch.from_numpy(resized).permute(2, 0, 1).float()
    pixels = (pixels - torch.tensor(_MEAN)[:, None, None]) / torch.tensor(_STD)[:, None, None]
    padded = torch.zeros(3, side, side)
    padded[:, :height, :width] = pixels
    return padded
