"""Convert all kinds of pixels that Pillow supports to 8-bit RGB."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_INTEGER_RANGES = (65535.0,)
_FLOAT_RANGES = (1.0, 255.0, 65535.0)


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image to mode RGB.

    Parameters
    ----------
    image : PIL.Image.Image
        Image of any mode.

    Returns
    -------
    PIL.Image.Image
        The image in mode RGB.

    Notes
    -----
    Transparent pixels are blended with white, as in browsers. Grey values of 16 bits are scaled by
    their full range. Wider integers and floats have no fixed range: they are scaled by the smallest
    of 1 (floats only), 255 (floats only) and 65535 that is large enough, or else by their own
    minimum and maximum. Colour profiles are ignored.
    """
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_grey(image)).convert("RGB")
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(coloured, mask=coloured.getchannel("A"))
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


def _grey(image: Image.Image) -> NDArray[np.uint8]:
    """Scale grey values of more than 8 bits to 8 bits, (H, W) uint8."""
    values = np.asarray(image)
    if values.dtype.itemsize == 2:
        table = np.rint(np.arange(65536) / 257).astype(np.uint8)
        return np.asarray(table[values])
    numbers = values.astype(np.float64)
    known = numbers[np.isfinite(numbers)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    ranges = _FLOAT_RANGES if image.mode == "F" else _INTEGER_RANGES
    top = next((top for top in ranges if low >= 0 and high <= top), None)
    if top is not None:
        low, high = 0.0, top
    limited = np.clip(np.nan_to_num(numbers, nan=low), low, high)
    scale = 255 / (high - low) if high > low else 0.0
    return np.rint((limited - low) * scale).astype(np.uint8)
