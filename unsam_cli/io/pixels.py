"""Convert all kinds of pixels to 8-bit RGB."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unsam_cli.io.settings import pixel_settings, tell_once

_RANGES = {"i": (65535.0,), "f": (1.0, 255.0, 65535.0)}
"""Usual ranges of integers of more than 8 bits and of floats; they begin with 0."""
_LEFT_OUT = 0.001  # fraction of the values at each end that may be clipped
SAMPLE = 2**22
"""Number of values that limits are found from."""
_MARKS = (-9999.0, -99999.0, -32768.0, -32767.0)
"""Values that stand for "no data" by convention, where they are the lowest of a picture."""
_HUGE = 1e38  # magnitude of the largest floats, which stand for "no data", too
_NODATA = 42113  # tag of GDAL
_ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")
_STRIP = 512  # rows copied at once
_MASKS = 0.5  # least fraction of pixels that a transparency shows or hides completely


def to_rgb(image: Image.Image, name: str = "picture") -> Image.Image:
    """Convert an image to mode RGB.

    Parameters
    ----------
    image : PIL.Image.Image
        Image of any mode.
    name : str
        Its name in messages.

    Returns
    -------
    PIL.Image.Image
        The image in mode RGB.

    Notes
    -----
    Transparent pixels are blended with white, as in browsers; the fourth band of a TIFF that
    neither shows nor hides most pixels is no transparency, and is left out. More than 8 bits are
    scaled, see :func:`scaled`. Colour profiles are ignored.
    """
    if image.mode.startswith(("I", "F")):
        nodata = nodata_of(getattr(image, "tag_v2", {}).get(_NODATA))
        return Image.fromarray(scaled(np.asarray(image), name, nodata)).convert("RGB")
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        if image.format == "TIFF" and not hides(np.array(coloured.getchannel("A").histogram())):
            tell_no_transparency(name)
            return coloured.convert("RGB")
        return over_white(coloured, coloured.getchannel("A"))
    return image if image.mode == "RGB" else image.convert("RGB")


def tell_frames(image: Image.Image, name: str) -> None:
    """Say that only the first frame of an animation is read."""
    if image.format in _ANIMATED and (count := int(getattr(image, "n_frames", 1))) > 1:
        tell_once("frames", "%s: the first of its %d frames is read", name, count)


def copied(rgb: Image.Image) -> NDArray[np.uint8]:
    """Copy an image in strips, since Pillow would make two more copies of a large image."""
    pixels = np.empty((rgb.height, rgb.width, 3), dtype=np.uint8)
    for top in range(0, rgb.height, _STRIP):
        bottom = min(top + _STRIP, rgb.height)
        pixels[top:bottom] = np.asarray(rgb.crop((0, top, rgb.width, bottom)))
    return pixels


def over_white(colours: Image.Image, alpha: Image.Image) -> Image.Image:
    """Blend an image with white by its transparency, mode L."""
    white = Image.new("RGB", colours.size, "white")
    white.paste(colours, mask=alpha)
    return white


def scaled(
    values: NDArray[np.generic],
    name: str,
    nodata: float | None = None,
    ends: tuple[float, float] | None = None,
) -> NDArray[np.uint8]:
    """Scale values of more than 8 bits to 8 bits, all by the same limits.

    Parameters
    ----------
    values : (H, W) or (H, W, C) integer or float
        The values.
    name : str
        Name of the picture in messages.
    nodata : float, optional
        Value that stands for "no data".
    ends : (float, float), optional
        The values that become black and white; by default those of :func:`limits`.

    Returns
    -------
    uint8 of the same shape
        Values from 0 to 255. What is no number, or no data, is 0 (infinity is 255).
    """
    wide = values.dtype.itemsize == 2 and values.dtype.kind == "u"
    found = ends or limits(values, name, nodata)
    if wide and found == (0.0, 65535.0):
        table = np.rint(np.arange(65536) / 257).astype(np.uint8)
        return np.asarray(table[values])
    low, high = found
    numbers = values.astype(np.float64)
    limited = np.clip(np.nan_to_num(numbers, nan=low), low, high)
    scale = 255 / (high - low) if high > low else 0.0
    return np.rint((limited - low) * scale).astype(np.uint8)


def limits(
    values: NDArray[np.generic], name: str, nodata: float | None = None
) -> tuple[float, float]:
    """Return the values that become black and white; see :func:`scaled` for the parameters.

    They are those of ``--range``; else 0 and the end of a usual range (1, 255 or 65535), if the
    picture fills its upper half; else the values below and above which 0.1 % lie.
    """
    if (given := pixel_settings().range) is not None:
        return given
    flat = values.reshape(-1)
    sample = flat[:: max(1, flat.size // SAMPLE)].astype(np.float64)
    return limits_of(sample, values.dtype.kind, name, nodata)


def limits_of(
    sample: NDArray[np.float64], kind: str, name: str, nodata: float | None
) -> tuple[float, float]:
    """Return the same for a sample of values, whose `kind` is that of their dtype."""
    known = _known(sample, nodata)
    if not known.size:
        tell_once("empty", "%s: has no values, only what stands for no data: it is black", name)
        return 0.0, 0.0
    low, high = float(known.min()), float(known.max())
    ends = _RANGES["f" if kind == "f" else "i"]
    top = next((top for top in ends if low >= 0 and top / 2 < high <= top), None)
    if top is not None:
        return 0.0, top
    ends_found = np.quantile(known, [_LEFT_OUT, 1 - _LEFT_OUT], method="nearest").tolist()
    if low == high:  # one value
        return next(((0.0, top) for top in ends if 0 <= low <= top), (low, high))
    low, high = (low, high) if ends_found[0] == ends_found[1] else ends_found
    tell_once(
        "range",
        "%s: its values from %g to %g become black to white, which differs from picture to "
        "picture; --range LO,HI sets them for all",
        *(name, low, high),
    )
    return low, high


def _known(values: NDArray[np.float64], nodata: float | None) -> NDArray[np.float64]:
    """Leave out what is no number or no data."""
    known = values[np.isfinite(values)]
    if nodata is not None:
        known = known[known != nodata]
    if not known.size:
        return known
    ordinary = known[np.abs(known) < _HUGE]
    if 0 < ordinary.size < known.size and _is_sparse(known):
        known = ordinary
    for mark in _MARKS:
        if known.min() == mark and (known > mark).any():
            known = known[known > mark]
    return known


def _is_sparse(known: NDArray[np.float64]) -> bool:
    """Whether the extreme values are one or two marks, not the ends of a wide range."""
    return len(np.unique(known[np.abs(known) >= _HUGE])) < 2


def nodata_of(tag: object) -> float | None:
    """Return the value that the tag of GDAL in a TIFF declares as "no data"."""
    try:
        return float(str(tag).strip("\0 "))
    except ValueError:
        return None


def hides(counts: NDArray[np.int64]) -> bool:
    """Whether a fourth band shows or hides most pixels completely; `counts` is its histogram."""
    return bool(counts[0] + counts[255] >= _MASKS * counts.sum())


def tell_no_transparency(name: str) -> None:
    """Say that the last band of a picture is left out."""
    tell_once(
        "band",
        "%s: its fourth band is tagged as transparency, but is none: it is left out; "
        "--bands chooses bands",
        name,
    )
