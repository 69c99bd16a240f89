"""Images that are given as a path, as an array, or as an image of Pillow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from unsam_cli.errors import UsageError
from unsam_cli.io.feature_records import ImageEntry
from unsam_cli.io.geo import georeference
from unsam_cli.io.images import image_size, read_image
from unsam_cli.io.pixels import to_rgb

Picture: TypeAlias = Path | NDArray[np.uint8]
"""The file of an image, or its pixels, (H, W, 3) uint8 RGB."""

ImageLike: TypeAlias = "str | os.PathLike[str] | NDArray[Any] | Image.Image"
"""What functions of the Python API take as an image."""


def as_picture(image: ImageLike) -> Picture:
    """Return an image as the library takes it.

    Parameters
    ----------
    image : path, (H, W, 3) uint8 array, or PIL.Image.Image
        The image. Arrays are RGB; they can also be (H, W) grey values or (H, W, 4) with
        transparency. Images of Pillow can have any mode, and are turned upright.

    Returns
    -------
    Path or (H, W, 3) uint8
        A path stays a path: its file is read when it is needed.

    Raises
    ------
    UsageError
        It is no image; the message says what it is.
    """
    if isinstance(image, str | os.PathLike):
        return Path(image)
    if isinstance(image, Image.Image):
        return np.array(to_rgb(ImageOps.exif_transpose(image)))
    if not isinstance(image, np.ndarray):
        raise UsageError(
            f"an image is a path, a uint8 array (H, W, 3) or an image of Pillow, not "
            f"{type(image).__name__}"
        )
    grey, coloured = image.ndim == 2, image.ndim == 3 and image.shape[2] in (3, 4)
    if image.dtype != np.uint8 or not image.size or not (grey or coloured):
        raise UsageError(
            f"an image as an array is (H, W, 3) uint8 RGB, not {image.shape} {image.dtype}"
        )
    if grey or image.shape[2] == 4:
        return np.array(to_rgb(Image.fromarray(np.ascontiguousarray(image))))
    return np.ascontiguousarray(image)


def pixels_of(picture: Picture, *, longest: int | None = None) -> NDArray[np.uint8]:
    """Return the pixels of an image, (H, W, 3) uint8; see :func:`~unsam_cli.io.images.read_image`.

    An array is returned as it is: only a file may be decoded at a smaller size, `longest`.
    """
    return read_image(picture, longest=longest) if isinstance(picture, Path) else picture


def size_of(picture: Picture) -> tuple[int, int]:
    """Return height and width of an image in pixels; of a file, from its header only."""
    if isinstance(picture, Path):
        return image_size(picture)
    return picture.shape[0], picture.shape[1]


def entry_of(picture: Picture, size: tuple[int, int], preview: bytes = b"") -> ImageEntry:
    """Describe an image of this height and width, in pixels, as the only one of a file."""
    if isinstance(picture, Path):
        return ImageEntry(1, picture.name, *size, preview, georeference(picture))
    return ImageEntry(1, "image", *size, preview)
