"""The EXIF orientation of photographs."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile

from unsam_cli.io.settings import pixel_settings

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_BACK = {
    Image.Transpose.ROTATE_90: Image.Transpose.ROTATE_270,
    Image.Transpose.ROTATE_270: Image.Transpose.ROTATE_90,
}
"""The reverse of turns that are not their own."""


def turn_of(image: ImageFile.ImageFile) -> Image.Transpose | None:
    """Return how the pixels are turned after loading, where Pillow turns those of a TIFF itself."""
    turn = _UPRIGHT.get(orientation(image))
    if (pixel_settings().exif == "ignore") == (image.format != "TIFF"):
        return None
    return _BACK.get(turn, turn) if turn is not None and image.format == "TIFF" else turn


def upright(values: NDArray[Any], turn: int) -> NDArray[Any]:
    """Return pixels (H, W, ...), which nothing has turned yet, turned as their orientation says."""
    if pixel_settings().exif == "ignore" or turn not in _UPRIGHT:
        return values
    if turn >= 5:
        values = values.swapaxes(0, 1)
    rows = slice(None, None, -1 if turn in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if turn in (2, 3, 6, 7) else 1)
    return values[rows, columns]


def swaps_sides(image: ImageFile.ImageFile) -> bool:
    """Whether :func:`turn_of` swaps height and width."""
    return orientation(image) >= 5 and turn_of(image) is not None


def orientation(image: Image.Image) -> int:
    """EXIF orientation, 1..8; 1 if it is missing or cannot be read."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged metadata does not affect the pixels
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1
