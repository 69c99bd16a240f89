"""Rows of a page of a TIFF, from its strips or tiles."""

from __future__ import annotations

import os
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from unsam_cli.io.small_tiff import decoded, pillow_decodes

_PLAIN, SEPARATE = 1, 2  # values of the tags Compression and PlanarConfiguration


def rows_of(
    page: Any, stream: BinaryIO, top: int, bottom: int, columns: slice | None = None
) -> NDArray[Any]:
    """Return the rows of a page of tifffile from `top` to `bottom` (exclusive), (rows, w, C).

    `columns` are all of them by default; of tiles only those that they touch are decoded.
    """
    if is_raw(page):
        return _raw_rows(page, stream, top, bottom)[:, columns or slice(None)]
    left, right, _ = (columns or slice(None)).indices(page.imagewidth)
    return _decoded_rows(page, stream, (top, bottom), (left, right))


def is_raw(page: Any) -> bool:
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


def _decoded_rows(
    page: Any, stream: BinaryIO, rows: tuple[int, int], columns: tuple[int, int]
) -> NDArray[Any]:
    width, height, samples = page.imagewidth, page.imagelength, page.samplesperpixel
    (top, bottom), (left, right) = rows, columns
    high = page.tilelength if page.is_tiled else page.rowsperstrip
    wide = page.tilewidth if page.is_tiled else width
    across, down = -(-width // wide), -(-height // high)
    planes = range(samples if page.planarconfig == SEPARATE else 1)
    found = np.zeros((bottom - top, right - left, samples), page.dtype)
    for plane in planes:
        bands = slice(plane, plane + 1) if len(planes) > 1 else slice(None)
        for row in range(top // high, -(-bottom // high)):
            for column in range(left // wide, -(-right // wide)):
                index = (plane * down + row) * across + column
                stream.seek(page.dataoffsets[index])
                data = stream.read(page.databytecounts[index])
                y, x = row * high, column * wide
                if not data:  # a sparse file
                    continue
                part = _segment(page, data, index, high if page.is_tiled else height - y)
                begin, end = max(top, y), min(bottom, y + len(part), height)
                first, last = max(left, x), min(right, x + part.shape[1])
                found[begin - top : end - top, first - left : last - left, bands] = part[
                    begin - y : end - y, first - x : last - x
                ]
    return found


def _segment(page: Any, data: bytes, index: int, rows: int) -> NDArray[Any]:
    """Decode a strip or tile, which has at most this number of rows: (rows, columns, samples)."""
    if pillow_decodes(page):
        high, wide = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, 0)
        return decoded(page, data, min(high, rows), wide or page.imagewidth)
    found: NDArray[Any] = page.decode(data, index, jpegtables=page.jpegtables)[0][0]
    return found
