"""One mask of an image, with its place in the hierarchy."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unsam_cli.api import display
from unsam_cli.io.annotations import Annotation
from unsam_cli.rle import Rle, decode


class Family(Protocol):
    """The masks of an image, by index."""

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The image, (H, W, 3)."""
        ...

    def parent_of(self, index: int) -> Mask | None:
        """Return the smallest mask that contains a mask."""
        ...

    def children_of(self, index: int) -> list[Mask]:
        """Return the masks whose parent a mask is."""
        ...

    def depth_of(self, index: int) -> int:
        """Return the number of masks above a mask."""
        ...


class Mask:
    """One mask of :class:`Masks`.

    Attributes
    ----------
    annotation : Annotation
        What a masks file says of it.

    Examples
    --------
    >>> import unsam_cli as unsam
    >>> masks = unsam.divide(unsam.features("photo.jpg", size=128))
    >>> mask = masks[0]
    >>> mask.stage, mask.depth, mask.mask.shape
    ('divide', 0, (96, 128))
    >>> int(mask.mask.sum()) == mask.area
    True
    """

    def __init__(self, family: Family, index: int, annotation: Annotation) -> None:
        self._family, self._index, self.annotation = family, index, annotation

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The mask at the size of the image, (H, W) bool."""
        return decode(self.annotation.rle)

    @property
    def rle(self) -> Rle:
        """The mask as COCO RLE, a dictionary with `size` and `counts`."""
        return self.annotation.rle

    @property
    def area(self) -> float:
        """Number of pixels."""
        return self.annotation.area

    @property
    def bbox(self) -> tuple[float, float, float, float]:
        """Box x, y, w, h in pixels."""
        return self.annotation.bbox

    @property
    def score(self) -> float | None:
        """What ranks it among the masks of its image."""
        return self.annotation.score

    @property
    def level(self) -> float | None:
        """The cosine similarity at which its patches are one; None for an object of divide."""
        return self.annotation.level

    @property
    def stage(self) -> str | None:
        """``divide``, ``conquer`` or ``predict``."""
        return self.annotation.stage

    @property
    def granularity(self) -> float | None:
        """From 0.1, the finest mask of its tree, to 1, the coarsest."""
        return self.annotation.granularity

    @property
    def parent(self) -> Mask | None:
        """The smallest mask that contains it."""
        return self._family.parent_of(self._index)

    @property
    def children(self) -> list[Mask]:
        """The masks whose parent it is, the best first."""
        return self._family.children_of(self._index)

    @property
    def depth(self) -> int:
        """Number of masks above it."""
        return self._family.depth_of(self._index)

    def cutout(self) -> Image.Image:
        """Return the pixels of the mask on a transparent ground, cropped to its box."""
        return display.cutout(self._family.pixels, self.rle)

    def __repr__(self) -> str:
        x, y, w, h = (round(v) for v in self.bbox)
        score = "" if self.score is None else f", score {self.score:.3g}"
        return f"<Mask: {self.area:g} pixels in {w} x {h} at ({x}, {y}){score}>"

    def _repr_png_(self) -> bytes:
        return display.png(self.cutout())
