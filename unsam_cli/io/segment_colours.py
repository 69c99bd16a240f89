"""Kinds of pixels of large TIFFs: of a few rows what Pillow makes of a whole page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from unsam_cli.io.pixels import hides, over_white, tell_no_transparency
from unsam_cli.io.settings import pixel_settings
from unsam_cli.io.small_tiff import JPEG, YCBCR

_GREY, _RGB, _PALETTE = 1, 2, 3  # values of the tag PhotometricInterpretation
_BITS = (8, 16, 32, 64)  # per value; Pillow stretches values of fewer bits than 8
_UNASSOCIATED = 2  # value of the tag ExtraSamples: colours are not multiplied by it


class Colours:
    """What the values of a page mean that is not just grey or RGB.

    Parameters
    ----------
    page : tifffile.TiffPage
        The page, for which `are_known` is true.
    name : str
        Name of the file in messages.

    Attributes
    ----------
    hide : bool
        Whether the last band is a transparency, as :meth:`measure` has found.
    """

    def __init__(self, page: Any, name: str) -> None:
        self._name, self.hide = name, False
        self._table: NDArray[np.uint8] | None = None
        if page.photometric == _PALETTE:
            self._table = (np.asarray(page.colormap) >> 8).astype(np.uint8).T

    def measure(self, blocks: Iterable[NDArray[np.uint8]]) -> None:
        """Find whether the last band is a transparency, from all values, (rows, W, C) each."""
        if self._table is not None:
            return
        counts = sum(np.bincount(values[..., -1].ravel(), minlength=256) for values in blocks)
        self.hide = hides(np.asarray(counts))
        if not self.hide:
            tell_no_transparency(self._name)

    def rgb(self, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return values, (h, w, C), as RGB."""
        if self._table is not None:
            return self._table[values[..., 0]]
        grey = values.shape[2] == 2
        colours = np.repeat(values[..., :1], 3, axis=2) if grey else values[..., :3]
        if not self.hide:
            return np.ascontiguousarray(colours)
        images = (Image.fromarray(np.ascontiguousarray(a)) for a in (colours, values[..., -1]))
        return np.asarray(over_white(*images))


def are_known(page: Any) -> bool:
    """Whether :class:`Colours` knows what the values of a page of tifffile mean."""
    if page.dtype != np.uint8 or page.bitspersample != 8 or pixel_settings().bands is not None:
        return False
    if page.photometric == _PALETTE:
        return bool(page.samplesperpixel == 1 and np.shape(page.colormap) == (3, 256))
    contiguous = page.planarconfig == 1  # two planes Pillow does not read
    bands = {_GREY: 2 if contiguous else None, _RGB: 4}.get(page.photometric)
    return bool(page.samplesperpixel == bands and tuple(page.extrasamples) == (_UNASSOCIATED,))


def is_plain(page: Any) -> bool:
    """Whether values are grey or RGB, in whole bytes, without depth."""
    if are_known(page):
        return bool(page.imagedepth == 1)
    alpha = page.dtype == np.uint8 and any(kind in (1, 2) for kind in page.extrasamples)
    kinds = (_GREY, _RGB, YCBCR) if page.compression == JPEG else (_GREY, _RGB)
    sound = page.photometric in kinds and page.imagedepth == 1 and page.dtype is not None
    sound = sound and page.bitspersample in _BITS and page.dtype.kind != "c"
    return sound and (not alpha or pixel_settings().bands is not None)


def is_alike(image: ImageFile.ImageFile, page: Any) -> bool:
    """Whether Pillow makes the same of a whole page as this does of its segments."""
    if image.mode in ("L", "RGB") or (image.mode in ("P", "LA", "RGBA") and are_known(page)):
        return True
    return image.mode.startswith(("I", "F")) and page.dtype in (np.uint16, np.int16, np.float32)
