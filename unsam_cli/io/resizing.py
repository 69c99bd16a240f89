"""Pictures at another size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_GAP = 3.0
"""Large reductions start with block means; a gap of 3 is indistinguishable from none."""
_STRIP = 2**22  # pixels that are reduced at once


def resize(rgb: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize an image by bicubic interpolation, with antialiasing if it shrinks.

    Parameters
    ----------
    rgb : (H, W, 3) uint8
        The image.
    size : (h, w)
        Height and width of the result, in pixels.

    Returns
    -------
    (h, w, 3) uint8
        The resized image; the image itself if it already has this size.
    """
    height, width, _ = rgb.shape
    h, w = size
    if (height, width) == (h, w):
        return rgb
    # Pillow shrinks rows first and rounds in between. Here the longer side is first, so that a
    # rotated image gives the rotated result; a square gives the mean of both orders.
    across_first, down_first = (width, w) >= (height, h), (width, w) <= (height, h)
    results = []
    if across_first:
        results.append(_bicubic(rgb, (h, w)))
    if down_first:
        results.append(_bicubic(rgb.transpose(1, 0, 2), (w, h)).transpose(1, 0, 2))
    if len(results) == 1:
        return np.ascontiguousarray(results[0])
    return ((results[0].astype(np.uint16) + results[1] + 1) // 2).astype(np.uint8)


def _bicubic(rgb: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    (height, width, _), (h, w) = rgb.shape, size
    factors = max(1, int(width / w / _GAP)), max(1, int(height / h / _GAP))
    image = Image.fromarray(_means(rgb, factors))
    box = (0, 0, width / factors[0], height / factors[1])
    return np.array(image.resize((w, h), Image.Resampling.BICUBIC, box))


def _means(rgb: NDArray[np.uint8], factors: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the means of blocks of some columns and rows, a few rows at a time.

    Pillow would copy the whole picture twice.
    """
    if factors == (1, 1):
        return np.ascontiguousarray(rgb)
    step = max(1, _STRIP // (rgb.shape[1] * factors[1])) * factors[1]
    strips = (np.ascontiguousarray(rgb[top : top + step]) for top in range(0, len(rgb), step))
    return np.concatenate([np.asarray(Image.fromarray(one).reduce(factors)) for one in strips])
