"""TIFF files of several pages, and of kinds that Pillow does not read."""

from __future__ import annotations

import contextlib
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from unsam_cli.errors import ImageFileError, counted
from unsam_cli.io.orientation import upright
from unsam_cli.io.pixels import nodata_of, scaled
from unsam_cli.io.settings import pixel_settings, tell_once
from unsam_cli.rle import MAX_PIXELS

_KIND = 254  # tag: 1 is a reduced copy of another page, 4 a transparency mask of it
_BITS, _SAMPLES, _EXTRA, _FORMAT = 258, 277, 338, 339  # tags
_UNSPECIFIED = 0  # value of the tag ExtraSamples: neither kind of transparency
_ORIENTATION = 274  # tag
NODATA = 42113
"""Tag of GDAL."""
_EXAMINED = 256  # pages
_FLOATS, _SIGNED = 3, 2  # values of the tag SampleFormat


def choose_page(image: ImageFile.ImageFile, name: str) -> None:
    """Go to the page of a TIFF that is read: that of ``--page``, or the first of the largest size.

    Copies of a reduced size, and masks of transparency, are no pages.

    Raises
    ------
    ImageFileError
        There is no such page.
    """
    count, wanted = int(getattr(image, "n_frames", 1)), pixel_settings().page
    if wanted is not None:
        if wanted > count:
            raise ImageFileError(_no_page(name, count, wanted))
        image.seek(wanted - 1)
        return
    if count == 1:
        return
    areas: dict[int, int] = {}
    for page in range(min(count, _EXAMINED)):
        with contextlib.suppress(Exception):  # kinds of pages that Pillow does not read
            image.seek(page)
            if not image.tag_v2.get(_KIND, 0) & 5:  # type: ignore[attr-defined]
                areas[page] = image.width * image.height
    best = max(areas, key=lambda page: (areas[page], -page), default=0)
    image.seek(best)
    if len(areas) > 1:
        tell_once("pages", "%s: page %d of %d is read; --page N chooses", name, best + 1, count)


def tell_bands(image: ImageFile.ImageFile, name: str) -> None:
    """Say which bands are read of a TIFF that has further ones, which are no transparency."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    count, others = int(tags.get(_SAMPLES, 1)), tags.get(_EXTRA, ())
    if _UNSPECIFIED in (others if isinstance(others, tuple) else (others,)):
        _tell_bands(name, (1, 2, 3) if count > 2 else (1,), count)


def _tell_bands(name: str, chosen: tuple[int, ...], count: int) -> None:
    words = ", ".join(map(str, chosen))
    tell_once("bands", "%s: bands %s of %d are read; --bands chooses", name, words, count)


def is_signed(image: ImageFile.ImageFile) -> bool:
    """Whether the values of a TIFF are signed integers of 8 bits, which Pillow reads as others."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    kinds, bits = (tags.get(tag, ()) for tag in (_FORMAT, _BITS))
    return _SIGNED in kinds and tuple(bits) == (8,)


class OtherTiff:
    """A TIFF of a kind that Pillow does not read, or of which bands are chosen.

    Parameters
    ----------
    stream : binary stream
        The file.
    name : str
        Its name in messages.

    Attributes
    ----------
    size : (int, int)
        Width and height in pixels, upright.
    turn : int
        The EXIF orientation, 1 to 8.

    Raises
    ------
    ImageFileError
        The file cannot be read; the message names its kind.
    """

    format = "TIFF"

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self.name = name
        try:
            import tifffile
        except ImportError:
            raise ImageFileError(
                f"{name}: {_kind_of(stream)} needs tifffile: pip install tifffile, or convert "
                "it to 8 bits"
            ) from None
        try:
            stream.seek(0)
            self._page = page_of(list(tifffile.TiffFile(stream).pages), name)
            self._size = (int(self._page.imagewidth), int(self._page.imagelength))
            self.turn = orientation_of(self._page)
            swapped = self.turn >= 5 and pixel_settings().exif == "apply"
            self.size = self._size[::-1] if swapped else self._size
        except ImageFileError:
            raise
        except Exception as error:  # damaged files may raise any error
            raise self._unreadable(error) from error

    def read(self, most: int = MAX_PIXELS) -> Image.Image:
        """Return the page as an image in mode RGB, scaled as :func:`scaled` does.

        Raises
        ------
        ImageFileError
            It is damaged, too large, or compressed in a way that is not supported.
        """
        if self.size[0] * self.size[1] > most:
            raise ImageFileError(
                f"{self.name}: {self.size[0]}x{self.size[1]} pixels exceed the limit of {most}; "
                "resize the image"
            )
        try:
            values = np.squeeze(self._page.asarray())
            if values.ndim == 3 and values.shape[:2] != self._size[::-1]:  # plane after plane
                values = np.moveaxis(values, 0, -1)
            if values.dtype.kind == "c":
                raise ImageFileError(f"{self.name}: complex values are no picture; convert it")
            values = bands_of(values, self.name)
        except ImageFileError:
            raise
        except Exception as error:
            raise self._unreadable(error) from error
        if values.dtype != np.uint8:
            tag = self._page.tags.get(NODATA)
            values = scaled(values, self.name, nodata_of(None if tag is None else tag.value))
        turned = upright(values, self.turn)
        return Image.fromarray(np.ascontiguousarray(turned)).convert("RGB")

    def _unreadable(self, error: Exception) -> ImageFileError:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        return ImageFileError(
            f"{self.name}: TIFF that cannot be read ({reason}); convert it to 8-bit RGB"
        )


def page_of(pages: list[Any], name: str) -> Any:
    """Return the page of tifffile that is read, as :func:`choose_page` does.

    Raises
    ------
    ImageFileError
        There is no such page.
    """
    if not pages:
        raise ImageFileError(f"{name}: has no page; copy it again or remove it")
    wanted = pixel_settings().page
    if wanted is not None:
        if wanted > len(pages):
            raise ImageFileError(_no_page(name, len(pages), wanted))
        return pages[wanted - 1]
    areas = {
        i: page.imagewidth * page.imagelength
        for i, page in enumerate(pages[:_EXAMINED])
        if not page.subfiletype & 5
    }
    best = max(areas, key=lambda i: (areas[i], -i), default=0)
    if len(areas) > 1:
        told = "%s: page %d of %d is read; --page N chooses"
        tell_once("pages", told, name, best + 1, len(pages))
    return pages[best]


def bands_of(values: NDArray[Any], name: str) -> NDArray[Any]:
    """Return the bands that are read: grey values, (H, W), or three bands, (H, W, 3).

    Parameters
    ----------
    values : (H, W) or (H, W, C)
        All bands.
    name : str
        Name of the file in messages.

    Raises
    ------
    ImageFileError
        There is no such band, or there are more dimensions.
    """
    if values.ndim == 2:
        return values
    if values.ndim != 3:
        raise ImageFileError(f"{name}: {values.ndim} dimensions are not a picture")
    count, given = values.shape[2], pixel_settings().bands
    chosen = given or ((1, 2, 3) if count > 2 else (1,))
    if max(chosen) > count:
        raise ImageFileError(
            f"{name}: has {counted(count, 'band')}, not {max(chosen)}; see --bands"
        )
    if given is None and count not in (1, 3):
        _tell_bands(name, chosen, count)
    found = values[..., [band - 1 for band in chosen]]
    return found[..., 0] if len(chosen) == 1 else found


def orientation_of(page: Any) -> int:
    """Return the orientation of a page of tifffile, 1 to 8."""
    tag = page.tags.get(_ORIENTATION)
    return int(tag.value) if tag is not None and tag.value in range(1, 9) else 1


def _no_page(name: str, count: int, wanted: int) -> str:
    return f"{name}: has {counted(count, 'page')}, not {wanted}; give another --page"


def _kind_of(stream: BinaryIO) -> str:
    """Name a kind of TIFF by its tags: number of bands and bits."""
    from PIL import TiffImagePlugin

    try:
        stream.seek(0)
        tags = TiffImagePlugin.ImageFileDirectory_v2(stream.read(8))
        stream.seek(tags.next)
        tags.load(stream)
        bits, bands = tags.get(_BITS, (1,)), tags.get(_SAMPLES, 1)
        kind = {_FLOATS: "float", _SIGNED: "signed"}.get(tags.get(_FORMAT, (1,))[0], "")
        many = counted(bands, "band")
        return f"a TIFF of {many} of {bits[0]} bits{f' ({kind})' if kind else ''}"
    except Exception:
        return "a TIFF of this kind"
