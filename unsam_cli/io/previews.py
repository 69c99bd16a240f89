"""Small JPEGs of photographs: what borders are refined with when the originals are elsewhere."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from unsam_cli.io.images import decode_image, resize

PREVIEW = 640
"""Most pixels a side of a preview."""

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
"""EXIF orientation of what was mirrored across (second), down (third), then transposed (first)."""


def encode_preview(rgb: NDArray[np.uint8]) -> bytes:
    """JPEG of an image, no larger than `PREVIEW` pixels a side and never enlarged.

    Parameters
    ----------
    rgb : (H, W, 3) uint8
        The image.

    Notes
    -----
    The blocks of a JPEG begin in one corner. The picture decides in which: it is stored mirrored
    and turned as `_settled` says, and its EXIF orientation undoes that. So a turned image has the
    turned preview, to the pixel.
    """
    stored, orientation = _settled(_shrunk(rgb, PREVIEW))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return _jpeg(stored, exif)


def encode_small(rgb: NDArray[np.uint8], longest: int) -> bytes:
    """JPEG of an image (H, W, 3) uint8 as it is, no larger than `longest` pixels a side."""
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
        If it is not an image, or larger than a preview may be.
    """
    return decode_image(data, "preview", most=PREVIEW**2)


def _shrunk(rgb: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    h, w, _ = rgb.shape
    scale = min(1.0, longest / max(h, w))
    return resize(rgb, (max(1, round(h * scale)), max(1, round(w * scale))))


def _jpeg(rgb: NDArray[np.uint8], exif: Image.Exif) -> bytes:
    """Quality 90 without chroma subsampling: borders between colours stay where they are."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=90, subsampling=0, exif=exif)
    return buffer.getvalue()


def _settled(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int]:
    """Mirror and turn an image: wide, and most light to the right and below; and the way back.

    The way back is an EXIF orientation, 1 to 8.
    """
    light = rgb.sum(axis=2, dtype=np.int64)
    height, width = light.shape
    across = int(light.sum(axis=0) @ (2 * np.arange(width) + 1 - width))
    down = int(light.sum(axis=1) @ (2 * np.arange(height) + 1 - height))
    turned = (height, abs(down)) > (width, abs(across))
    mirrored = rgb[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]
    stored = mirrored.transpose(1, 0, 2) if turned else mirrored
    return np.ascontiguousarray(stored), _ORIENTATIONS[turned, across < 0, down < 0]
