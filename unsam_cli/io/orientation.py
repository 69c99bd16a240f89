"""The EXIF orientation of photographs."""

from __future__ import annotations

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
    upright = _UPRIGHT.get(orientation(image))
    if (pixel_settings().exif == "ignore") == (image.format != "TIFF"):
        return None
    return (
        _BACK.get(upright, upright) if upright is not None and image.format == "TIFF" else upright
    )


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
