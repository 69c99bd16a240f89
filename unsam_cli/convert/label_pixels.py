"""Read pictures whose pixels are labels, as they are stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from unsam_cli.errors import ImageFileError, MissingInputError
from unsam_cli.io.files import check_regular
from unsam_cli.io.kinds import mistaken_file
from unsam_cli.io.tiff import choose_page, is_signed, page_of

LabelArray = NDArray[np.int64]
_MARKS = (b"II", b"MM")  # first bytes of a TIFF


def read_labels(path: Path) -> LabelArray:
    """Read the labels of a picture.

    Returns
    -------
    (H, W) int64
        Labels: indices of a palette, grey values of any number of bits, or R + 256 G + 65536 B.

    Raises
    ------
    MissingInputError
        The file does not exist.
    ImageFileError
        The file is not a picture, is damaged, or is of a kind that cannot hold labels.
    """
    return read_pixels(path)[0]


def read_pixels(path: Path) -> tuple[LabelArray, str]:
    """Read the labels of a picture, (H, W) int64, and its mode in Pillow; see `read_labels`.

    Transparency is ignored. A TIFF that Pillow does not read has the name of its dtype as mode.
    """
    check_regular(path, error=ImageFileError)
    if text := mistaken_file(path, "image"):
        raise ImageFileError(f"{path}: {text}")
    try:
        pixels, mode = _stored(path)
    except ImageFileError:
        raise
    except FileNotFoundError:
        raise MissingInputError(f"{path}: no such file") from None
    except Exception as error:  # damaged files may raise any error
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ImageFileError(f"{path}: not a label map ({reason}); copy it again") from error
    if pixels.ndim == 3 and mode == "LA":
        pixels = pixels[..., 0]
    if pixels.ndim == 3 and mode in ("RGB", "RGBA"):
        r, g, b = (pixels[..., i].astype(np.int64) for i in range(3))
        return r + 256 * g + 65536 * b, mode
    if pixels.ndim == 2 and pixels.dtype.kind == "f":
        if not _are_whole(pixels):
            raise ImageFileError(f"{path}: its values are not labels: some are no whole numbers")
        return pixels.astype(np.int64), mode
    if pixels.ndim != 2 or pixels.dtype.kind not in "uib":
        raise ImageFileError(
            f"{path}: pixels of mode {mode} are not labels; give a grey or palette image"
        )
    return pixels.astype(np.int64), mode


def _stored(path: Path) -> tuple[NDArray[Any], str]:
    """Return pixels as Pillow has them, and their mode; or as tifffile, and their dtype."""
    try:
        with Image.open(path) as image:
            if image.format in ("JPEG", "WEBP", "MPO"):
                raise ImageFileError(f"{path}: {image.format} does not preserve labels; give PNG")
            if image.format != "TIFF":
                return np.asarray(image), image.mode
            choose_page(image, str(path))
            if not is_signed(image):
                return np.asarray(image), image.mode
    except UnidentifiedImageError:
        with path.open("rb") as stream:
            if stream.read(2) not in _MARKS:
                raise
    return _by_tifffile(path)


def _by_tifffile(path: Path) -> tuple[NDArray[Any], str]:
    try:
        import tifffile
    except ImportError:
        raise ImageFileError(
            f"{path}: labels of this kind need tifffile: pip install tifffile, or store 16 bits"
        ) from None
    with tifffile.TiffFile(path) as file:
        values = np.asarray(page_of(list(file.pages), str(path)).asarray())
    return np.squeeze(values), values.dtype.name


def _are_whole(values: NDArray[np.floating[Any]]) -> bool:
    return bool(np.isfinite(values).all() and (values == np.floor(values)).all())
