"""Large TIFFs, decoded a few strips or tiles at a time; also at a reduced size.

Pillow and tifffile decode a whole page: for 20 000 x 20 000 pixels of RGB that is gigabytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from unsam_cli.io.deep import is_deep
from unsam_cli.io.orientation import upright
from unsam_cli.io.pixels import SAMPLE, limits_of, nodata_of, scaled
from unsam_cli.io.settings import pixel_settings
from unsam_cli.io.tiff import NODATA, OtherTiff, bands_of, orientation_of, page_of

_ROWS = 256  # pixels; a row of tiles can be higher
_GREY, _RGB = 1, 2  # values of the tag PhotometricInterpretation
_PLAIN = 1  # value of the tag Compression
_LOSSLESS = (_PLAIN, 5, 8, 32773, 32946)  # and LZW, Deflate, PackBits
_BITS = (8, 16, 32, 64)  # per value; Pillow stretches values of fewer bits than 8


LARGE = 2**25
"""Pixels from which on a TIFF is decoded in blocks: Pillow would hold it twice."""


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
        RGB, upright; None if the file is of a kind that has to be decoded as a whole, or tifffile,
        or the package that it needs for a compression, is missing.
    """
    small = longest is not None and max(image.size) >= 2 * longest
    exact = isinstance(image, OtherTiff) or (image.mode in ("L", "RGB") and not is_deep(image))
    if not small and (not exact or image.size[0] * image.size[1] < LARGE):
        return None
    try:
        import tifffile
    except ImportError:
        return None
    stream.seek(0)
    page = page_of(list(tifffile.TiffFile(stream).pages), name)
    factor = max(page.imagewidth, page.imagelength) // longest if small and longest else 1
    if not _is_plain(page) or not (small or page.compression in _LOSSLESS):
        return None
    tag = page.tags.get(NODATA)
    nodata = nodata_of(None if tag is None else tag.value)
    try:
        ends = None if page.dtype == np.uint8 else _limits(page, stream, name, nodata)
        size = -(-page.imagelength // factor), -(-page.imagewidth // factor)
        found, row = np.empty((*size, 3), np.uint8), 0
        for _, values in _blocks(page, stream, name, factor):
            rgb = _means(values if ends is None else scaled(values, name, nodata, ends), factor)
            found[row : row + len(rgb)] = rgb
            row += len(rgb)
    except ValueError as error:
        if "imagecodecs" in str(error):
            return None
        raise
    return np.ascontiguousarray(upright(found, orientation_of(page)))


def _is_plain(page: Any) -> bool:
    """Whether values are grey or RGB, in whole bytes, without transparency and depth."""
    alpha = page.dtype == np.uint8 and any(kind in (1, 2) for kind in page.extrasamples)
    sound = page.photometric in (_GREY, _RGB) and page.imagedepth == 1 and page.dtype is not None
    sound = sound and page.bitspersample in _BITS
    return sound and (not alpha or pixel_settings().bands is not None)


def _limits(page: Any, stream: BinaryIO, name: str, nodata: float | None) -> tuple[float, float]:
    """Return the limits of the whole page, from the same sample as if it were in memory."""
    if (given := pixel_settings().range) is not None:
        return given
    found, step, kind = [], 0, page.dtype.kind
    for top, values in _blocks(page, stream, name, 1):
        width = values.size // len(values)  # values per row
        step = step or max(1, page.imagelength * width // SAMPLE)
        found.append(values.reshape(-1)[-(top * width) % step :: step].astype(np.float64))
    return limits_of(np.concatenate(found), kind, name, nodata)


def _means(values: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Return the means of blocks, as RGB."""
    return np.asarray(Image.fromarray(np.ascontiguousarray(values)).reduce(factor).convert("RGB"))


def _blocks(
    page: Any, stream: BinaryIO, name: str, factor: int
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield first row and values of blocks of rows, (rows, W) or (rows, W, 3).

    The number of rows is a multiple of `factor`, but for the last block.
    """
    row = page.tilelength if page.is_tiled else min(page.rowsperstrip, _ROWS)
    step = row * -(-_ROWS // row)  # whole segments, so that none is decoded twice
    read = _raw_rows if _is_raw(page) else _decoded_rows
    begin, rest = 0, None
    for top in range(0, page.imagelength, step):
        bottom = min(top + step, page.imagelength)
        rows = read(page, stream, top, bottom)
        rows = rows if rest is None else np.concatenate([rest, rows])
        count = len(rows) if bottom == page.imagelength else len(rows) // factor * factor
        if count:
            yield begin, bands_of(rows[:count], name)
        begin, rest = begin + count, rows[count:]


def _is_raw(page: Any) -> bool:
    """Whether the rows of a page lie one after the other in the file."""
    return bool(page.is_contiguous) and page.compression == _PLAIN and page.planarconfig == 1


def _raw_rows(page: Any, stream: BinaryIO, top: int, bottom: int) -> NDArray[Any]:
    kind = np.dtype(page.parent.byteorder + page.dtype.char)
    width, samples = page.imagewidth, page.samplesperpixel
    length = width * samples * kind.itemsize
    stream.seek(page.dataoffsets[0] + top * length, os.SEEK_SET)
    data = stream.read((bottom - top) * length)
    values = np.frombuffer(data, kind).astype(page.dtype, copy=False)
    return values.reshape(bottom - top, width, samples)


def _decoded_rows(page: Any, stream: BinaryIO, top: int, bottom: int) -> NDArray[Any]:
    width, height, samples = page.imagewidth, page.imagelength, page.samplesperpixel
    high = page.tilelength if page.is_tiled else page.rowsperstrip
    across = -(-width // page.tilewidth) if page.is_tiled else 1
    down = -(-height // high)
    planes = range(samples if page.planarconfig == 2 else 1)
    found = np.zeros((bottom - top, width, samples), page.dtype)
    for plane in planes:
        for row in range(top // high, -(-bottom // high)):
            for column in range(across):
                index = (plane * down + row) * across + column
                stream.seek(page.dataoffsets[index])
                data = stream.read(page.databytecounts[index]) or None
                segment, (_, _, y, x, _), _ = page.decode(data, index, jpegtables=page.jpegtables)
                if segment is None:  # a sparse file
                    continue
                part = segment[0]
                begin, end = max(top, y), min(bottom, y + len(part), height)
                wide = min(part.shape[1], width - x)
                bands = slice(plane, plane + 1) if len(planes) > 1 else slice(None)
                found[begin - top : end - top, x : x + wide, bands] = part[
                    begin - y : end - y, :wide
                ]
    return found
