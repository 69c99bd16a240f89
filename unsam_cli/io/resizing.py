"""Pictures at another size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image


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
    # Large reductions start with block means; a gap of 3 is indistinguishable from none.
    image = Image.fromarray(np.ascontiguousarray(rgb))
    return np.array(image.resize(size[::-1], Image.Resampling.BICUBIC, reducing_gap=3.0))
