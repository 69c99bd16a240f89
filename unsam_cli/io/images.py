"""Read photographs upright as RGB, or refuse them with an error of one line.

The format of an image is recognised by its content, not by its name. Nothing is decoded before the
size in the header has been checked.
"""

from __future__ import annotations

import io
import os
from pathlib import Path, PurePath
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile

from unsam_cli.errors import DataError, ImageFileError, MissingInputError
from unsam_cli.io.files import open_regular
from unsam_cli.io.kinds import HEAD, mistaken
from unsam_cli.io.pixels import to_rgb
from unsam_cli.rle import MAX_PIXELS

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".avif"}
)
"""Lower-case suffixes by which images are found in folders."""

_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF")
"""Formats that are read. Others that Pillow opens (EPS, WMF...) would run external programs."""

_STRIP = 512  # rows copied at once
_LONGEST_NAME = 4096  # characters, the limit of Linux; longer names would only fill the message

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Pillow checks some formats again while it decodes. Its own limit is too low for panoramas.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS


def read_image(path: Path, *, longest: int | None = None) -> NDArray[np.uint8]:
    """Read an image.

    Parameters
    ----------
    path : Path
        The file.
    longest : int, optional
        Longest side that the caller needs, in pixels. A JPEG of more than twice this size is then
        decoded at 1/2, 1/4 or 1/8 of its size, never below this size, which is much faster. Other
        formats are read in full size.

    Returns
    -------
    (H, W, 3) uint8
        RGB, rotated by the EXIF orientation; the first frame of an animation. For other kinds of
        pixels see :func:`~unsam_cli.io.pixels.to_rgb`. The array is writable.

    Raises
    ------
    MissingInputError
        No such file.
    ImageFileError
        The file is not an image, is damaged, or has more than `MAX_PIXELS` pixels.
    """
    with _open_file(path) as stream:
        return _read(stream, str(path), longest)


def image_size(path: Path) -> tuple[int, int]:
    """Return height and width of an image, upright, in pixels, from its header only.

    Raises
    ------
    MissingInputError
        No such file.
    ImageFileError
        See `read_image`; only errors in the header are found.
    """
    with _open_file(path) as stream:
        try:
            image = _open_image(stream, str(path))
            width, height = image.size
            # Pillow has already rotated the size of a TIFF.
            turned = image.format != "TIFF" and _orientation(image) >= 5
        except ImageFileError:
            raise
        except Exception as error:  # damaged files may raise any error
            raise _damaged(str(path), error) from error
    return (width, height) if turned else (height, width)


def decode_image(data: bytes, name: str, most: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode the bytes of an image of at most `most` pixels, as `read_image` does a file.

    Raises
    ------
    ImageFileError
        The bytes are not an image, or the image is larger. The message calls it `name`.
    """
    return _read(io.BytesIO(data), name, None, most=most)


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


def find_image(root: Path, file_name: str) -> Path:
    """Find the image that a masks or features file names.

    Parameters
    ----------
    root : Path
        Folder of the images.
    file_name : str
        Name as stored, relative to the folder or to a folder above it. Its last part is tried, too.

    Returns
    -------
    Path
        Path of the existing image.

    Raises
    ------
    DataError
        The name is absolute, leads out of the folder, or is not a name.
    MissingInputError
        There is no such file.
    """
    sound = isinstance(file_name, str) and "\0" not in file_name and len(file_name) <= _LONGEST_NAME
    name = PurePath(file_name) if sound else None
    if name is None or not name.name or name.is_absolute() or ".." in name.parts:
        raise DataError(
            f"file_name {file_name!r:.200} is not a path below a folder; "
            "store names relative to the folder of the images"
        )
    tried = list(dict.fromkeys([root / name, root / name.name]))
    for path in tried:
        if os.path.isfile(path):  # unlike Path.is_file, false for names that are too long
            return path
    raise MissingInputError(
        f"{' and '.join(map(str, tried))}: no such file; give the folder that holds the images"
    )


def _open_file(path: Path) -> BinaryIO:
    return open_regular(path, error=ImageFileError)


def _open_image(stream: BinaryIO, name: str, most: int = MAX_PIXELS) -> ImageFile.ImageFile:
    """Read the header; the counterpart of `Image.open` for our formats and our limit."""
    Image.init()
    prefix = stream.read(16)
    if not prefix:
        raise ImageFileError(f"{name}: empty file; copy the image again or remove it")
    openers = [Image.OPEN[kind] for kind in _FORMATS if kind in Image.OPEN]
    opener = next(
        (opener for opener, accepts in openers if accepts and accepts(prefix) is True), None
    )
    if opener is None:
        stream.seek(0)
        if text := mistaken(stream.read(HEAD), "image"):
            raise ImageFileError(f"{name}: {text}")
        raise ImageFileError(
            f"{name}: not an image in a supported format ({', '.join(_FORMATS)}); convert "
            "or remove it"
        )
    stream.seek(0)
    image = opener(stream, name)
    width, height = image.size
    if width * height > most:
        raise ImageFileError(
            f"{name}: {width}x{height} pixels exceed the limit of {most}; resize the image"
        )
    return image


def _read(
    stream: BinaryIO, name: str, longest: int | None, most: int = MAX_PIXELS
) -> NDArray[np.uint8]:
    try:
        image = _open_image(stream, name, most)
        if longest is not None and max(image.size) > longest:
            width, height = image.size
            scale = longest / max(width, height)
            image.draft(None, (max(1, round(width * scale)), max(1, round(height * scale))))
        image.load()
        turn = _UPRIGHT.get(_orientation(image))
        rgb = to_rgb(image)
        return _pixels(rgb if turn is None else rgb.transpose(turn))
    except ImageFileError:
        raise
    except Exception as error:  # damaged files may raise any error
        raise _damaged(name, error) from error


def _pixels(rgb: Image.Image) -> NDArray[np.uint8]:
    """Copy an image in strips, since Pillow would make two more copies of a large image."""
    pixels = np.empty((rgb.height, rgb.width, 3), dtype=np.uint8)
    for top in range(0, rgb.height, _STRIP):
        bottom = min(top + _STRIP, rgb.height)
        pixels[top:bottom] = np.asarray(rgb.crop((0, top, rgb.width, bottom)))
    return pixels


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1..8; 1 if it is missing or cannot be read."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged metadata does not affect the pixels
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _damaged(name: str, error: Exception) -> ImageFileError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return ImageFileError(f"{name}: damaged image ({reason}); copy it again or remove it")
