"""Small JPEGs of photographs, which refine borders if the originals are not available."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from unsam_cli.io.images import decode_image
from unsam_cli.io.resizing import resize

PREVIEW = 640
"""Longest side of a preview, in pixels."""

_ORIENTATIONS = {
    (False, False, False): 1,
    (False, True, False): 2,
    (False, True, True): 3,
    (False, False, True): 4,
    (True, False, False): 5,
    (True, True, False): 6,
    (True, True, True): 7,
    (True, False, True): 8,
}
"""EXIF orientation by three steps: mirrored across (second), down (third), transposed (first)."""


def encode_preview(rgb: NDArray[np.uint8]) -> bytes:
    """Encode an image as JPEG with sides of at most `PREVIEW` pixels; it is never enlarged.

    Parameters
    ----------
    rgb : (H, W, 3) uint8
        The image.

    Notes
    -----
    The blocks of a JPEG begin in one corner. The content of the picture decides which corner this
    is: the picture is stored mirrored and rotated by `_settled`, and its EXIF orientation reverses
    this. So the preview of a rotated image is exactly the rotated preview.
    """
    stored, orientation = _settled(_shrunk(rgb, PREVIEW))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return _jpeg(stored, exif)


def encode_small(rgb: NDArray[np.uint8], longest: int) -> bytes:
    """Encode an image (H, W, 3) uint8 as JPEG with sides of at most `longest` pixels."""
    return _jpeg(_shrunk(rgb, longest), Image.Exif())


def decode_preview(data: bytes) -> NDArray[np.uint8]:
    """Decode what `encode_preview` made.

    Returns
    -------
    (H, W, 3) uint8
        RGB, upright.

    Raises
    ------
    ImageFileError
        The data is not an image, or is larger than a preview may be.
    """
    return decode_image(data, "preview", most=PREVIEW**2)


def _shrunk(rgb: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    h, w, _ = rgb.shape
    scale = min(1.0, longest / max(h, w))
    return resize(rgb, (max(1, round(h * scale)), max(1, round(w * scale))))


def _jpeg(rgb: NDArray[np.uint8], exif: Image.Exif) -> bytes:
    """Encode with quality 90 and no chroma subsampling, so that borders of colours do not move."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=90, subsampling=0, exif=exif)
    return buffer.getvalue()


def _settled(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int]:
    """Mirror and rotate an image so that it is wide, and brightest to the right and below.

    Return the image and the EXIF orientation, 1 to 8, that reverses this.
    """
    light = rgb.sum(axis=2, dtype=np.int64)
    height, width = light.shape
    across = int(light.sum(axis=0) @ (2 * np.arange(width) + 1 - width))
    down = int(light.sum(axis=1) @ (2 * np.arange(height) + 1 - height))
    turned = (height, abs(down)) > (width, abs(across))
    mirrored = rgb[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]
    stored = mirrored.transpose(1, 0, 2) if turned else mirrored
    return np.ascontiguousarray(stored), _ORIENTATIONS[turned, across < 0, down < 0]
