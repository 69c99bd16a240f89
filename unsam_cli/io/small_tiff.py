"""Strips and tiles of a TIFF in a compression that tifffile needs another package for.

Pillow has LZW and JPEG, but decodes whole pages only. So a segment becomes a page of its own, in
memory.
"""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import TiffImagePlugin

YCBCR = 6
"""Value of the tag PhotometricInterpretation. Pillow makes RGB of it."""
JPEG = 7
"""Value of the tag Compression."""
_LZW = 5
_GREY, _DIFFERENCES = 1, 2  # values of PhotometricInterpretation and of Predictor
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_PLACE, _SAMPLES, _ROWS, _LENGTH, _PLANAR = 273, 277, 278, 279, 284
_TABLES, _SUBSAMPLING = 347, 530  # of JPEG


def pillow_decodes(page: Any) -> bool:
    """Whether :func:`decoded` can decode the segments of a page of tifffile."""
    if page.fillorder != 1:
        return False
    if page.compression == JPEG:
        return page.dtype == np.uint8 and page.planarconfig == 1 and page.samplesperpixel in (1, 3)
    integers = page.dtype is not None and page.dtype.kind in "iu"
    plain = page.predictor == 1 or (page.predictor == _DIFFERENCES and integers)
    return bool(page.compression == _LZW and plain and page.bitspersample % 8 == 0)


def decoded(page: Any, data: bytes, height: int, width: int) -> NDArray[Any]:
    """Decode a strip or tile of a page of tifffile: (height, width, samples).

    Parameters
    ----------
    page : tifffile.TiffPage
        The page, for which :func:`pillow_decodes` is true.
    data : bytes
        The segment, as it is in the file.
    height, width : int
        Its sides, in pixels.
    """
    samples = 1 if page.planarconfig == 2 else page.samplesperpixel
    if page.compression == JPEG:
        tags = {tag: page.tags[tag].value for tag in (_TABLES, _SUBSAMPLING) if tag in page.tags}
        kind = {_PHOTOMETRIC: int(page.photometric), _SAMPLES: samples, _BITS: (8,) * samples}
        found = _page(data, {**tags, **kind, _WIDTH: width, _HEIGHT: height, _COMPRESSION: JPEG})
        return found.reshape(height, width, samples)
    # To LZW all values are bytes.
    dtype = np.dtype(page.parent.byteorder + page.dtype.char)
    kind = {_PHOTOMETRIC: _GREY, _SAMPLES: 1, _BITS: 8, _COMPRESSION: _LZW}
    row = width * samples * dtype.itemsize
    flat = _page(data, {**kind, _WIDTH: row, _HEIGHT: height})
    values: NDArray[Any] = flat.view(dtype).astype(page.dtype, copy=False)
    values = values.reshape(height, width, samples)
    if page.predictor == _DIFFERENCES:
        values = np.cumsum(values, axis=1, dtype=page.dtype)
    return values


def _page(data: bytes, tags: dict[int, int | bytes | tuple[int, ...]]) -> NDArray[np.uint8]:
    """Decode a page of one strip, whose bytes and tags are given."""
    alike = {_PLACE: 0, _LENGTH: len(data), _ROWS: tags[_HEIGHT], _PLANAR: 1}
    every = sorted({**tags, **alike}.items())
    end = 8 + 2 + 12 * len(every) + 4  # of the header and the directory
    long = b"".join(_bytes(value) for _, value in every if len(_bytes(value)) > 4)
    entries, place = b"", end
    for tag, value in every:
        value = end + len(long) if tag == _PLACE else value
        stored = _bytes(value)
        kind, count = _kind(value)
        short = len(stored) <= 4
        entries += struct.pack("<HHI", tag, kind, count)
        entries += stored.ljust(4, b"\0") if short else place.to_bytes(4, "little")
        place += 0 if short else len(stored)
    head = struct.pack("<2sHIH", b"II", 42, 8, len(every)) + entries + bytes(4)
    return np.asarray(TiffImagePlugin.TiffImageFile(io.BytesIO(head + long + data), ""))


def _kind(value: int | bytes | tuple[int, ...]) -> tuple[int, int]:
    """Return type and count of a value: UNDEFINED, LONG, or several SHORT."""
    if isinstance(value, bytes):
        return 7, len(value)
    return (4, 1) if isinstance(value, int) else (3, len(value))


def _bytes(value: int | bytes | tuple[int, ...]) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, int):
        return value.to_bytes(4, "little")
    return struct.pack(f"<{len(value)}H", *value)
