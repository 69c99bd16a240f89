"""The picture that borders of masks follow, and how sharp its edges are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unsam_cli.colour import rgb_to_lab
from unsam_cli.conquer.borders import Contrast, contrast_of

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Guide:
    """The picture that borders follow, at any size: CIELAB, (h, w, 3) float32, and its contrast."""

    colours: Floats
    contrast: Contrast

    @classmethod
    def of(cls, picture: Picture) -> Guide:
        """Prepare a picture, (h, w, 3) uint8."""
        colours = rgb_to_lab(picture)
        return cls(colours, contrast_of(colours))

    def within(self, bbox: tuple[int, int, int, int], size: tuple[int, int]) -> Guide:
        """Return the part that a box (x, y, w, h) of the original covers.

        `size` is the height and width of the original; both are in pixels.
        """
        rows, columns = window(self.colours.shape[:2], bbox, size)
        colours = np.ascontiguousarray(self.colours[rows, columns])
        return Guide(colours, self.contrast.window(rows, columns))


def window(
    picture: tuple[int, int], bbox: tuple[int, int, int, int], size: tuple[int, int]
) -> tuple[slice, slice]:
    """Rows and columns of a picture that a box of the original covers, at least one pixel.

    `picture` and `size` are (height, width) of the picture and of the original, and `bbox` is
    (x, y, w, h) in pixels of the original.
    """
    x, y, w, h = bbox
    scale_y, scale_x = picture[0] / size[0], picture[1] / size[1]
    top, bottom = _nearest(y * scale_y, (y + h) * scale_y, picture[0])
    left, right = _nearest(x * scale_x, (x + w) * scale_x, picture[1])
    return slice(top, bottom), slice(left, right)


def _nearest(start: float, stop: float, length: int) -> tuple[int, int]:
    """Round a range to whole pixels within a length; halves go outwards, on both sides alike."""
    first = min(math.ceil(start - 0.5), length - 1)
    return first, max(first + 1, math.floor(stop + 0.5))
