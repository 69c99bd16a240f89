"""Random colour changes of images, for networks that learn from scratch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_GAMMA, _CONTRAST, _LIGHT = 0.4, 0.4, 20.0
_EXCHANGED, _GREY, _NEGATIVE = 0.5, 0.2, 0.15


@dataclass(frozen=True)
class Colours:
    """A change of the colours of an image.

    Attributes
    ----------
    channels : (3,) int64
        Index of the old channel that each new channel is copied from.
    grey : bool
        Whether all channels become their mean instead.
    values : (256,) uint8
        New value of each old value, applied afterwards.
    """

    channels: NDArray[np.int64]
    grey: bool
    values: NDArray[np.uint8]

    def change(self, image: Tensor) -> Tensor:
        """Return a copy of an image, (3, H, W) uint8, with changed colours."""
        if self.grey:
            image = image.float().mean(0, keepdim=True).byte().expand(3, -1, -1)
        else:
            image = image[torch.from_numpy(self.channels)]
        return torch.from_numpy(self.values[image.numpy()])


def draw_colours(rng: np.random.Generator) -> Colours:
    """Draw a permutation of channels, grey, negative, gamma, contrast and brightness."""
    channels = rng.permutation(3) if rng.random() < _EXCHANGED else np.arange(3)
    grey = bool(rng.random() < _GREY)
    values = np.arange(256) / 255
    if rng.random() < _NEGATIVE:
        values = 1 - values
    values = 255 * values ** np.exp(rng.uniform(-_GAMMA, _GAMMA))
    values = (values - 127) * (1 + rng.uniform(-_CONTRAST, _CONTRAST)) + 127
    values = (values + rng.uniform(-_LIGHT, _LIGHT)).clip(0, 255).astype(np.uint8)
    return Colours(channels, grey, values)
