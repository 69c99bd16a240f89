"""Colours of 16 bits, of which Pillow keeps the upper 8: of 12 bits only 4 are left."""

from __future__ import annotations

import importlib.util
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageFile, PngImagePlugin

from unsam_cli.io.pixels import over_white, scaled
from unsam_cli.io.settings import pixel_settings, tell_once

_BITS, _PLANAR = 258, 284  # tags of TIFF
_SEPARATE = 2  # value of the tag PlanarConfiguration
_UPPER, _LOWER = ";16B", ";16L"
"""How Pillow calls colours of 16 bits whose upper byte comes first, or second."""


def is_deep(image: ImageFile.ImageFile) -> bool:
    """Whether an image that is not loaded has colours of 16 bits in a PNG or TIFF."""
    if image.mode not in ("RGB", "RGBA"):
        return False
    if image.format == "TIFF":
        bits: tuple[int, ...] = image.tag_v2.get(_BITS, (8,))  # type: ignore[attr-defined]
        return max(bits) == 16
    return image.format == "PNG" and bool(image.tile) and _is_wide(image.tile[0][3])


def _is_wide(args: Any) -> bool:
    return args in (f"RGB{_UPPER}", f"RGBA{_UPPER}")


def is_cut(image: ImageFile.ImageFile, name: str) -> bool:
    """Whether the upper 8 bits of colours of 16 are too few, once the image is loaded.

    They are if the colours fill less than half of their range, or if a range is given; and if a
    TIFF has one plane after the other, which Pillow mixes up. A TIFF needs tifffile for the lower
    bits; without it a warning says so.
    """
    extremes: Any = image.getextrema()
    bright = pixel_settings().range is None and max(high for _, high in extremes[:3]) > 127
    planes = image.format == "TIFF" and image.tag_v2.get(_PLANAR) == _SEPARATE  # type: ignore[attr-defined]
    if bright and not planes:
        return False
    if image.format != "TIFF" or importlib.util.find_spec("tifffile"):
        return True
    tell_once(
        "deep",
        "%s: 16 bits like these need tifffile, colours are wrong without: pip install tifffile",
        name,
    )
    return False


def whole_png(image: ImageFile.ImageFile, stream: BinaryIO, name: str) -> Image.Image:
    """Return a loaded PNG with colours of 16 bits in mode RGB, scaled as :func:`scaled` does.

    Pillow unpacks the upper bytes of big-endian values; told that they are little-endian, it
    unpacks the lower ones.
    """
    stream.seek(0)
    lower = PngImagePlugin.PngImageFile(stream)
    [tile] = lower.tile
    assert isinstance(tile[3], str)
    lower.tile = [tile._replace(args=tile[3].replace(_UPPER, _LOWER))]
    values = np.asarray(image).astype(np.uint16) << 8 | np.asarray(lower)
    colours = Image.fromarray(scaled(values[..., :3], name))
    if image.mode == "RGBA":
        return over_white(colours, image.getchannel("A"))
    return colours
