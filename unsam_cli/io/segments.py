"""Large TIFFs, decoded a few strips or tiles at a time; also at a reduced size.

Pillow and tifffile decode a whole page: for 20 000 x 20 000 pixels of RGB that is gigabytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from unsam_cli.io.deep import is_deep
from unsam_cli.io.orientation import upright
from unsam_cli.io.pixels import SAMPLE, limits_of, nodata_of, scaled
from unsam_cli.io.segment_colours import Colours, are_known, is_alike, is_plain
from unsam_cli.io.segment_rows import SEPARATE, is_raw, rows_of
from unsam_cli.io.settings import pixel_settings
from unsam_cli.io.small_tiff import pillow_decodes
from unsam_cli.io.tiff import NODATA, OtherTiff, bands_of, orientation_of, page_of

_ROWS = 256  # pixels; a row of tiles can be higher
_LOSSLESS = (1, 5, 8, 32773, 32946)  # plain, LZW, Deflate, PackBits
_MOST = 2**24  # values of a strip that is decoded again for each of its blocks
_HALF = 1 << 15  # 16-bit colours below this are dark: their upper bytes are not enough


LARGE = 2**25
"""Pixels from which on a TIFF is decoded in blocks: Pillow would hold it twice."""


def is_large(height: int, width: int) -> bool:
    """Whether a picture has so many pixels that not all of them should be in memory."""
    return height * width >= LARGE


Levels = tuple[tuple[float, float] | None, bool, bool]
"""The values that become black and white, whether values are cut to their upper 8 bits, and whether
the last band is a transparency."""


class Segments:
    """A page of a TIFF whose rows are decoded when they are needed.

    Parameters
    ----------
    page : tifffile.TiffPage
        The page.
    stream : binary stream
        The file, which stays open.
    name : str
        Its name in messages.
    cut : bool
        Whether colours of 16 bits are cut to their upper 8, as Pillow does, unless they are dark.

    Attributes
    ----------
    size : (H, W)
        Height and width in pixels, as stored.
    turn : int
        The EXIF orientation, 1 to 8.
    """

    def __init__(self, page: Any, stream: BinaryIO, name: str, *, cut: bool) -> None:
        self.name, self._page, self._stream, self._cut = name, page, stream, cut
        self.size: tuple[int, int] = page.imagelength, page.imagewidth
        self.turn = orientation_of(page)
        tag = page.tags.get(NODATA)
        self._nodata = nodata_of(None if tag is None else tag.value)
        self._ends: tuple[float, float] | None = None
        self._colours = Colours(page, name) if are_known(page) else None

    @property
    def levels(self) -> Levels:
        """What :meth:`measure` has found, for other segments of the same page."""
        return self._ends, self._cut, self._colours is not None and self._colours.hide

    @levels.setter
    def levels(self, found: Levels) -> None:
        self._ends, self._cut, hide = found
        if self._colours is not None:
            self._colours.hide = hide

    @property
    def is_turned(self) -> bool:
        """Whether the picture has rows that are not rows of the file."""
        return self.turn != 1 and pixel_settings().exif == "apply"

    @property
    def cell(self) -> tuple[int, int]:
        """Rows and columns that are decoded together, so that no segment is decoded twice."""
        page = self._page
        high = page.tilelength if page.is_tiled else min(page.rowsperstrip, _ROWS)
        wide = page.tilewidth if page.is_tiled else page.imagewidth
        return high * -(-_ROWS // high), wide * -(-_ROWS // wide)

    def measure(self) -> None:
        """Find how values become 8 bits, if that depends on all of them, as if in memory."""
        if self._colours is not None:
            self._colours.measure(values for _, values in self._rows(1))
        if self._page.dtype == np.uint8:
            return
        if (given := pixel_settings().range) is not None:
            self._ends, self._cut = given, False
            return
        found, step, highest = [], 0, 0.0
        for top, values in self.blocks(1):
            width = values.size // len(values)  # values per row
            step = step or max(1, self.size[0] * width // SAMPLE)
            found.append(values.reshape(-1)[-(top * width) % step :: step].astype(np.float64))
            highest = max(highest, float(values.max())) if self._cut else 0.0
        self._cut = self._cut and highest >= _HALF
        if not self._cut:
            kind = self._page.dtype.kind
            self._ends = limits_of(np.concatenate(found), kind, self.name, self._nodata)

    def rgb(self, row: int, column: int) -> NDArray[np.uint8]:
        """Return a cell by its row and column, (h, w, 3) uint8; call :meth:`measure` before."""
        (high, wide), (height, width) = self.cell, self.size
        top, left = row * high, column * wide
        bottom, right = min(top + high, height), min(left + wide, width)
        values = rows_of(self._page, self._stream, top, bottom, slice(left, right))
        return _means(self._scaled(self._bands(values)), 1)

    def reduced(self, factor: int) -> NDArray[np.uint8]:
        """Return the means of blocks of factor x factor pixels, (h, w, 3) uint8, not turned."""
        self.measure()
        size = -(-self.size[0] // factor), -(-self.size[1] // factor)
        found, row = np.empty((*size, 3), np.uint8), 0
        for _, values in self.blocks(factor):
            rgb = _means(self._scaled(values), factor)
            found[row : row + len(rgb)] = rgb
            row += len(rgb)
        return found

    def blocks(self, factor: int) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield first row and values of blocks of rows, (rows, W) or (rows, W, 3).

        The number of rows is a multiple of `factor`, but for the last block.
        """
        return ((top, self._bands(values)) for top, values in self._rows(factor))

    def _bands(self, values: NDArray[Any]) -> NDArray[Any]:
        return bands_of(values, self.name) if self._colours is None else self._colours.rgb(values)

    def _rows(self, factor: int) -> Iterator[tuple[int, NDArray[Any]]]:
        begin, rest, height, step = 0, None, self.size[0], self.cell[0]
        for top in range(0, height, step):
            bottom = min(top + step, height)
            rows = rows_of(self._page, self._stream, top, bottom)
            rows = rows if rest is None else np.concatenate([rest, rows])
            count = len(rows) if bottom == height else len(rows) // factor * factor
            if count:
                yield begin, rows[:count]
            begin, rest = begin + count, rows[count:]

    def _scaled(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        if values.dtype == np.uint8:
            return values
        if self._cut:
            return (values >> 8).astype(np.uint8)
        return scaled(values, self.name, self._nodata, self._ends)


def segments_of(
    image: ImageFile.ImageFile | OtherTiff, stream: BinaryIO, name: str, *, exact: bool = True
) -> Segments | None:
    """Return the segments of a TIFF that was opened and not loaded.

    None if it is of a kind that has to be decoded as a whole, or if tifffile, or the package that
    it needs for a compression, is missing. Unless `exact`, values of 16 bits may differ by one
    level from those that the whole picture would have.
    """
    try:
        import tifffile
    except ImportError:
        return None
    stream.seek(0)
    page = page_of(list(tifffile.TiffFile(stream).pages), name)
    if not is_plain(page) or not _is_decodable(page, exact=exact):
        return None
    deep = not isinstance(image, OtherTiff) and is_deep(image)
    if exact and not (isinstance(image, OtherTiff) or is_alike(image, page)):
        return None
    return Segments(page, stream, name, cut=exact and deep and page.planarconfig != SEPARATE)


def in_blocks(
    image: ImageFile.ImageFile | OtherTiff, stream: BinaryIO, name: str, longest: int | None
) -> NDArray[np.uint8] | None:
    """Read a TIFF in blocks, if it is large, or as means of them if a smaller size is enough.

    Besides the result the memory is bounded.

    Parameters
    ----------
    image : PIL.ImageFile.ImageFile or OtherTiff
        The TIFF, opened and not loaded.
    stream : binary stream
        The file.
    name : str
        Its name in messages.
    longest : int, optional
        Longest side that is needed, in pixels. The result is not smaller.

    Returns
    -------
    (h, w, 3) uint8 or None
        RGB, upright; None if :func:`segments_of` returns None, or if the TIFF is not large.
    """
    small = longest is not None and max(image.size) >= 2 * longest
    if not small and not is_large(*image.size):
        return None
    found = segments_of(image, stream, name, exact=not small)
    if found is None:
        return None
    factor = max(found.size) // longest if small and longest else 1
    return np.ascontiguousarray(upright(found.reduced(factor), found.turn))


def _is_decodable(page: Any, *, exact: bool) -> bool:
    if is_raw(page):
        return True
    rows = 0 if page.is_tiled else min(page.rowsperstrip, page.imagelength)
    if rows > _ROWS and rows * page.imagewidth * page.samplesperpixel > _MOST:
        return False
    if pillow_decodes(page):
        return True
    if exact and page.compression not in _LOSSLESS:
        return False
    try:
        page.decode(None, 0)
    except Exception:  # without the package that decodes it
        return False
    return True


def _means(values: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Return the means of blocks, as RGB."""
    if factor == 1:
        return values if values.ndim == 3 else np.repeat(values[..., np.newaxis], 3, axis=2)
    return np.asarray(Image.fromarray(np.ascontiguousarray(values)).reduce(factor).convert("RGB"))
