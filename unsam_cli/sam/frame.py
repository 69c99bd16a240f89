"""The mapping between pixels of an image and of the network's input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unsam_cli.io.windows import Pixels, shrunk
from unsam_cli.rle import Axis

_MEAN = (123.675, 116.28, 103.53)
_STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class Frame:
    """Where an image lies in the network's input.

    Parameters
    ----------
    size : (H, W)
        Height and width of the image, in pixels.
    inner : (h, w)
        Height and width of the resized image in the network's input, in pixels of the input. The
        rest, right and below, is padding.
    padded : (S, T)
        Height and width of the network's input, in pixels.
    square : bool
        Whether the image fills the input regardless of its aspect ratio, as in SAM 2.
    """

    size: tuple[int, int]
    inner: tuple[int, int]
    padded: tuple[int, int]
    square: bool = False

    @classmethod
    def of(cls, size: tuple[int, int], side: int, *, square: bool = False) -> Frame:
        """Fit an image of `size` (H, W), in pixels, into an input of `side` x `side` pixels.

        The longest side is resized to `side`, or both sides, if `square`.
        """
        if square:
            return cls(size, (side, side), (side, side), square=True)
        return cls(size, _scaled(size, side / max(size)), (side, side))

    @classmethod
    def within(cls, size: tuple[int, int], short: int, longest: int, multiple: int) -> Frame:
        """Resize the short side to `short`, but the long side to at most `longest`, in pixels.

        The input's sides are the next multiples of `multiple`.
        """
        inner = _scaled(size, min(short / min(size), longest / max(size)))
        height, width = (length + -length % multiple for length in inner)
        return cls(size, inner, (height, width))

    def pixels(self, image: Pixels) -> Tensor:
        """Resize and normalise an image.

        Parameters
        ----------
        image : (H, W, 3) uint8
            RGB.

        Returns
        -------
        (3, S, T) float32 tensor
            Mean 0 and standard deviation 1, padded with zeros right and below.
        """
        return network_input(self.resized(image), self.padded)

    def resized(self, image: Pixels) -> NDArray[np.uint8]:
        """Resize an image, (H, W, 3) uint8 RGB, to its size in the input, (h, w, 3) uint8."""
        return shrunk(image, self.inner)

    def inwards(self, points: Tensor) -> Tensor:
        """Scale coordinates in pixels from the image to the network's input.

        `points` are (..., 2), x and y, or boxes (..., 4), x0, y0, x1, y1. Returns float32.
        """
        scale = [self.inner[1] / self.size[1], self.inner[0] / self.size[0]]
        scaling = torch.tensor(scale, dtype=torch.float64, device=points.device)
        pairs = points.double().reshape(*points.shape[:-1], -1, 2) * scaling
        return pairs.reshape(points.shape).float()

    def axes(self, low: tuple[int, int]) -> tuple[Axis, Axis]:
        """Return the resampling of rows and columns from logits of size `low` to the image.

        Notes
        -----
        SAM resizes the logits to the input's size, removes the padding and resizes to the image.
        SAM 2 resizes directly to the image.
        """
        rows, columns = (
            Axis.of(n, m, through=None if self.square else (padded, kept))
            for n, m, padded, kept in zip(low, self.size, self.padded, self.inner, strict=True)
        )
        return rows, columns


def network_input(resized: NDArray[np.uint8], padded: tuple[int, int]) -> Tensor:
    """Normalise an image of :meth:`Frame.resized` and pad it with zeros: (3, S, T) float32."""
    height, width, _ = resized.shape
    pixels = torch.from_numpy(resized).permute(2, 0, 1).float()
    pixels = (pixels - torch.tensor(_MEAN)[:, None, None]) / torch.tensor(_STD)[:, None, None]
    whole = torch.zeros(3, *padded)
    whole[:, :height, :width] = pixels
    return whole


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Scale a size; halves of pixels are rounded up."""
    height, width = (max(int(length * scale + 0.5), 1) for length in size)
    return height, width
