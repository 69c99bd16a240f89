"""Crops of an image, and grids of points in them, for the automatic search."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from unsam_cli.sam.settings import AutomaticConfig


@dataclass(frozen=True)
class Crop:
    """A rectangle of an image, in pixels.

    Attributes
    ----------
    x0, y0, x1, y1 : int
        Left, top, right and bottom; the last two are exclusive.
    layer : int
        Layer of crops that it belongs to; 0 is the whole image.
    """

    x0: int
    y0: int
    x1: int
    y1: int
    layer: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, in pixels."""
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x0, y0, x1, y1 in pixels; x1 and y1 are exclusive."""
        return self.x0, self.y0, self.x1, self.y1


def crops(size: tuple[int, int], config: AutomaticConfig) -> list[Crop]:
    """List the crops of an image of `size` (H, W): the whole image, then layer by layer.

    References
    ----------
    Kirillov et al., Segment Anything, 2023, appendix B, "Cropping"; rounded as in its code.
    """
    height, width = size
    found = [Crop(0, 0, width, height, 0)]
    for layer in range(1, config.crop_layers + 1):
        count = 2**layer
        overlap = int(config.crop_overlap * min(size) * (2 / count))
        w, h = (math.ceil((overlap * (count - 1) + length) / count) for length in (width, height))
        for i, j in product(range(count), range(count)):
            x, y = (w - overlap) * i, (h - overlap) * j
            found.append(Crop(x, y, min(x + w, width), min(y + h, height), layer))
    return found


def grid(crop: Crop, config: AutomaticConfig) -> NDArray[np.float64]:
    """Return the grid of points of a crop, (n, 2): x, y in pixels from its corner, row by row."""
    side = int(config.points_per_side / config.crop_points_divisor**crop.layer)
    height, width = crop.size
    if side < 1:
        return np.empty((0, 2))
    places = np.linspace(1 / (2 * side), 1 - 1 / (2 * side), side)
    x, y = np.meshgrid(places, places)
    points: NDArray[np.float64] = np.stack((x, y), axis=-1).reshape(-1, 2) * (width, height)
    return points
