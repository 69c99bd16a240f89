"""Read photographs upright as RGB, or refuse them with an error of one line.

The format of an image is recognised by its content, not by its name. Nothing is decoded before the
size in the header has been checked.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from unsam_cli.errors import ImageFileError
from unsam_cli.io.deep import is_cut, is_deep, whole_png
from unsam_cli.io.files import open_regular
from unsam_cli.io.formats import FORMATS, opener_of
from unsam_cli.io.kinds import HEAD, mistaken
from unsam_cli.io.orientation import orientation, swaps_sides, turn_of
from unsam_cli.io.pixels import copied, tell_frames, to_rgb
from unsam_cli.io.segments import Segments, in_blocks, segments_of
from unsam_cli.io.settings import pixel_settings
from unsam_cli.io.tiff import OtherTiff, choose_page, is_signed, tell_bands
from unsam_cli.rle import MAX_PIXELS

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
        decoded at 1/2, 1/4 or 1/8 of its size, never below this size, which is much faster; a TIFF
        in blocks, see :mod:`~unsam_cli.io.segments`. Other formats are read in full size.

    Returns
    -------
    (H, W, 3) uint8
        RGB, rotated by the EXIF orientation; the first frame of an animation. For other kinds of
        pixels see :func:`~unsam_cli.io.pixels.to_rgb`, for pages and bands
        :mod:`~unsam_cli.io.tiff`. The array is writable.

    Raises
    ------
    MissingInputError
        No such file.
    ImageFileError
        The file is not an image, is damaged, or has more than `MAX_PIXELS` pixels.
    """
    with _open_file(path) as stream:
        return _read(stream, str(path), longest)


def whole_image(path: Path) -> Image.Image:
    """Read an image as :func:`read_image` does, but as one of Pillow, of which there is no copy.

    Raises
    ------
    MissingInputError, ImageFileError
        See `read_image`.
    """
    with _open_file(path) as stream, _told(str(path)):
        return _whole(_open_image(stream, str(path)), stream, str(path))


@contextmanager
def opened_segments(path: Path) -> Iterator[Segments | None]:
    """Open a TIFF whose rows can be decoded one by one; None if it is none of this kind.

    Raises
    ------
    MissingInputError, ImageFileError
        See `read_image`. Errors of the block of the statement count as errors of the file, too.
    """
    with _open_file(path) as stream, _told(str(path)):
        image = _open_image(stream, str(path))
        yield segments_of(image, stream, str(path)) if image.format == "TIFF" else None


def image_size(path: Path) -> tuple[int, int]:
    """Return height and width of an image, upright, in pixels, from its header only.

    Raises
    ------
    MissingInputError
        No such file.
    ImageFileError
        See `read_image`; only errors in the header are found.
    """
    with _open_file(path) as stream, _told(str(path)):
        image = _open_image(stream, str(path))
        width, height = image.size
        turned = isinstance(image, ImageFile.ImageFile) and swaps_sides(image)
    return (width, height) if turned else (height, width)


def orientation_of(path: Path) -> int:
    """Return the EXIF orientation of an image, 1 to 8; 1 if there is none."""
    with _open_file(path) as stream:
        try:
            image = _open_image(stream, str(path))
            return image.turn if isinstance(image, OtherTiff) else orientation(image)
        except Exception:  # reported when it is read
            return 1


def decode_image(data: bytes, name: str, most: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode the bytes of an image of at most `most` pixels, as `read_image` does a file.

    Raises
    ------
    ImageFileError
        The bytes are not an image, or the image is larger. The message calls it `name`.
    """
    return _read(io.BytesIO(data), name, None, most=most)


def _open_file(path: Path) -> BinaryIO:
    return open_regular(path, error=ImageFileError)


def _open_image(
    stream: BinaryIO, name: str, most: int = MAX_PIXELS
) -> ImageFile.ImageFile | OtherTiff:
    """Read the header; the counterpart of `Image.open` for our formats and our limit."""
    prefix = stream.read(16)
    if not prefix:
        raise ImageFileError(f"{name}: empty file; copy the image again or remove it")
    opener = opener_of(prefix)
    if opener is None:
        stream.seek(0)
        if text := mistaken(stream.read(HEAD), "image"):
            raise ImageFileError(f"{name}: {text}")
        raise ImageFileError(
            f"{name}: not an image in a supported format ({', '.join(FORMATS)}); convert "
            "or remove it"
        )
    stream.seek(0)
    image = _opened(opener, stream, name, is_tiff=prefix[:2] in (b"II", b"MM"))
    width, height = image.size
    if width * height > most:
        raise ImageFileError(
            f"{name}: {width}x{height} pixels exceed the limit of {most}; resize the image"
        )
    return image


def _opened(
    opener: Any, stream: BinaryIO, name: str, *, is_tiff: bool
) -> ImageFile.ImageFile | OtherTiff:
    """Open an image; of a TIFF the page that is read."""
    if is_tiff and pixel_settings().bands is not None:
        return OtherTiff(stream, name)
    try:
        # By its name Pillow would map a grey TIFF into memory, and not turn it.
        image: ImageFile.ImageFile = opener(stream, "" if is_tiff else name)
        if is_tiff:
            choose_page(image, name)
            if is_signed(image):
                return OtherTiff(stream, name)
            tell_bands(image, name)
    except ImageFileError:
        raise
    except (SyntaxError, KeyError, ValueError, NotImplementedError) as error:
        if not is_tiff or isinstance(error, UnicodeError):
            raise
        return OtherTiff(stream, name)
    return image


def _read(
    stream: BinaryIO, name: str, longest: int | None, most: int = MAX_PIXELS
) -> NDArray[np.uint8]:
    with _told(name):
        image = _open_image(stream, name, most)
        found = in_blocks(image, stream, name, longest) if image.format == "TIFF" else None
        return copied(_whole(image, stream, name, longest, most)) if found is None else found


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Turn the errors of damaged files, which may be any, into those of a line."""
    try:
        yield
    except ImageFileError:
        raise
    except Exception as error:
        raise _damaged(name, error) from error


def _whole(
    image: ImageFile.ImageFile | OtherTiff,
    stream: BinaryIO,
    name: str,
    longest: int | None = None,
    most: int = MAX_PIXELS,
) -> Image.Image:
    """Decode an image that was opened: mode RGB, upright."""
    if isinstance(image, OtherTiff):
        return image.read(most)
    if longest is not None and max(image.size) > longest:
        width, height = image.size
        scale = longest / max(width, height)
        image.draft(None, (max(1, round(width * scale)), max(1, round(height * scale))))
    tell_frames(image, name)
    deep = is_deep(image)  # first, since the EXIF of a PNG is only known when it is loaded
    turn, loads = turn_of(image), _loads(image)
    cut = loads and deep and is_cut(image, name)
    if not loads or (cut and image.format == "TIFF"):
        return OtherTiff(stream, name).read(most)
    rgb = whole_png(image, stream, name) if cut else to_rgb(image, name)
    return rgb if turn is None else rgb.transpose(turn)


def _loads(image: ImageFile.ImageFile) -> bool:
    """Decode an image; return whether Pillow can, if it is a TIFF."""
    try:
        image.load()
    except (ValueError, KeyError):
        if image.format != "TIFF":
            raise
        return False
    return True


def _damaged(name: str, error: Exception) -> ImageFileError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return ImageFileError(f"{name}: damaged image ({reason}); copy it again or remove it")
