"""The picture that borders of masks follow, and how sharp its edges are."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unsam_cli.colour import rgb_to_lab
from unsam_cli.conquer.borders import MARGIN, Contrast, contrast_of
from unsam_cli.io.windows import Pixels, Windows, reduced

Floats = NDArray[np.float32]
Picture = Pixels
MOST = 2**23
"""Most pixels of the guide of a region of a picture that is not held in memory."""
_MARGIN = MARGIN + 1  # pixels around a part, whose contrast is the same with them


class Guide(ABC):
    """The picture that borders follow, at any size."""

    @staticmethod
    def of(picture: Picture) -> Guide:
        """Prepare a picture, (h, w, 3) uint8."""
        return Distant(picture) if isinstance(picture, Windows) else Part.of(picture)

    @abstractmethod
    def within(self, bbox: tuple[int, int, int, int], size: tuple[int, int]) -> Part:
        """Return the part that a box (x, y, w, h) of the original covers.

        `size` is the height and width of the original; both are in pixels.
        """


@dataclass(frozen=True)
class Part(Guide):
    """A picture, or a part of it: CIELAB, (h, w, 3) float32, and its contrast."""

    colours: Floats
    contrast: Contrast

    @classmethod
    def of(cls, picture: NDArray[np.uint8]) -> Part:  # type: ignore[override]
        """Prepare a picture, (h, w, 3) uint8."""
        colours = rgb_to_lab(picture)
        return cls(colours, contrast_of(colours))

    def within(self, bbox: tuple[int, int, int, int], size: tuple[int, int]) -> Part:
        """Return the part that a box of the original covers."""
        return self.window(*window(self.colours.shape[:2], bbox, size))

    def window(self, rows: slice, columns: slice) -> Part:
        """Return the pixels of a rectangle."""
        colours = np.ascontiguousarray(self.colours[rows, columns])
        return Part(colours, self.contrast.window(rows, columns))


@dataclass(frozen=True)
class Distant(Guide):
    """A large picture, of which a part is read when it is needed, at a bounded size."""

    picture: Windows

    def within(self, bbox: tuple[int, int, int, int], size: tuple[int, int]) -> Part:
        """Return the part that a box of the original covers, as means of blocks if it is large."""
        height, width, _ = self.picture.shape
        rows, columns = window((height, width), bbox, size)
        w, h = columns.stop - columns.start, rows.stop - rows.start
        factor = math.ceil(math.sqrt(h * w / MOST))
        left, top = (min(_MARGIN * factor, at) for at in (columns.start, rows.start))
        left, top = left - left % factor, top - top % factor  # whole blocks
        right = min(_MARGIN * factor, width - columns.stop)
        below = min(_MARGIN * factor, height - rows.stop)
        box = (columns.start - left, rows.start - top, left + w + right, top + h + below)
        seen = Part.of(reduced(self.picture, box, factor))
        begin, first = top // factor, left // factor
        rows = slice(begin, begin + -(-h // factor))
        return seen.window(rows, slice(first, first + -(-w // factor)))


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
