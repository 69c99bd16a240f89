"""Rectangles of a large picture, of which never more than needed is in memory.

A large TIFF is decoded where the rectangles are, see :mod:`~unsam_cli.io.segments`. Other large
pictures are decoded once, and only when a rectangle is read.
"""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unsam_cli.errors import UnsamError
from unsam_cli.io.images import image_size, opened_segments, read_image, whole_image
from unsam_cli.io.segments import Levels, Segments, is_large

Box = tuple[int, int, int, int]
"""x, y, width and height, in pixels."""

_STRIP = 2**22  # pixels that are resized at once


class Windows(ABC):
    """A picture whose rectangles are read one by one; several threads may read.

    Attributes
    ----------
    shape : (int, int, 3)
        As that of the array that it stands for.
    """

    shape: tuple[int, int, int]

    @abstractmethod
    def read(self, box: Box) -> NDArray[np.uint8]:
        """Return a rectangle, (h, w, 3) uint8 RGB.

        Raises
        ------
        ImageFileError
            The file is damaged.
        """

    @abstractmethod
    def close(self) -> None:
        """Forget what was decoded. A later rectangle is decoded again."""


Pixels: TypeAlias = "NDArray[np.uint8] | Windows"
"""A picture, (H, W, 3) uint8, or something that reads its rectangles."""


def open_windows(picture: Path | NDArray[np.uint8]) -> Pixels:
    """Open an image: its pixels, or what reads its rectangles if it is a large file.

    Raises
    ------
    MissingInputError, ImageFileError
        See :func:`~unsam_cli.io.images.read_image`; of a large image only errors in the header are
        found here.
    """
    if not isinstance(picture, Path):
        return picture
    height, width = image_size(picture)
    return _File(picture, (height, width)) if is_large(height, width) else read_image(picture)


def read(picture: Pixels, box: Box) -> NDArray[np.uint8]:
    """Return a rectangle of a picture, (h, w, 3) uint8: a view of an array, or what is decoded."""
    if isinstance(picture, Windows):
        return picture.read(box)
    x, y, w, h = box
    return picture[y : y + h, x : x + w]


def part(picture: Pixels, box: Box) -> Pixels:
    """Return a rectangle of a picture as a picture, whose pixels are read now if they are few."""
    if not isinstance(picture, Windows) or not is_large(*box[2:]):
        return read(picture, box)
    return picture if box == (0, 0, *picture.shape[1::-1]) else _Part(picture, box)


def close(picture: Pixels) -> None:
    """Forget what was decoded of a picture that is no array."""
    if isinstance(picture, Windows):
        picture.close()


def shrunk(picture: Pixels, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize a picture to `size` (h, w) by Pillow's bilinear filter, a few rows at a time.

    The filter is that of the inference of published models. A rounding may differ from the result
    for the whole picture in memory.
    """
    (height, width, _), (h, w) = picture.shape, size
    if not isinstance(picture, Windows):
        return picture if (height, width) == size else _bilinear(picture, size)
    scale = height / h
    reach = max(scale, 1.0) + 1  # of the filter, and a pixel for rounding
    step = max(1, round(_STRIP / (width * scale)))
    found = np.empty((h, w, 3), np.uint8)
    for begin in range(0, h, step):
        end = min(begin + step, h)
        top = max(0, math.floor(begin * scale - reach))
        bottom = min(height, math.ceil(end * scale + reach))
        rows = picture.read((0, top, width, bottom - top))
        ends = begin * scale - top, min(end * scale - top, bottom - top)
        found[begin:end] = _bilinear(rows, (end - begin, w), ends)
    return found


def reduced(picture: Pixels, box: Box, factor: int) -> NDArray[np.uint8]:
    """Return the means of blocks of factor x factor pixels of a rectangle, (h, w, 3) uint8."""
    x, y, width, height = box
    if factor == 1:
        return read(picture, box)
    found = np.empty((-(-height // factor), -(-width // factor), 3), np.uint8)
    step = max(1, _STRIP // (width * factor)) * factor
    for top in range(0, height, step):
        rows = read(picture, (x, y + top, width, min(step, height - top)))
        means = np.asarray(Image.fromarray(np.ascontiguousarray(rows)).reduce(factor))
        found[top // factor : top // factor + len(means)] = means
    return found


def _bilinear(
    rgb: NDArray[np.uint8], size: tuple[int, int], rows: tuple[float, float] | None = None
) -> NDArray[np.uint8]:
    """Resize a picture, or some of its rows: from a place to a place between them."""
    image = Image.fromarray(np.ascontiguousarray(rgb))
    box = None if rows is None else (0, rows[0], image.width, rows[1])
    return np.array(image.resize(size[::-1], Image.Resampling.BILINEAR, box))


class _File(Windows):
    """A large image in a file, of `size` (H, W)."""

    def __init__(self, path: Path, size: tuple[int, int]) -> None:
        self._path, self.shape = path, (*size, 3)
        self._lock = threading.Lock()
        self._error: UnsamError | None = None
        self._levels: Levels | None = None
        self._cells: dict[tuple[int, int], NDArray[np.uint8]] = {}
        self._cell: tuple[int, int] | None = None
        self._whole: Image.Image | None = None

    def read(self, box: Box) -> NDArray[np.uint8]:
        """Return a rectangle; an error comes again at once."""
        x, y, w, h = box
        with self._lock:
            if self._error is not None:
                raise self._error
            try:
                found = None if self._whole is not None else self._from_cells(box)
            except UnsamError as error:
                self._error = error
                self.close()
                raise
            if found is not None:
                return found
            assert self._whole is not None
            return np.asarray(self._whole.crop((x, y, x + w, y + h)))

    def close(self) -> None:
        """Forget what was decoded."""
        self._whole = None
        self._cells.clear()

    def _from_cells(self, box: Box) -> NDArray[np.uint8] | None:
        """Return a rectangle; None if the whole was decoded, since its cells do not come alone."""
        wanted = None if self._cell is None else _cells(box, self._cell)
        if wanted is None or not all(place in self._cells for place in wanted):
            with opened_segments(self._path) as segments:
                if segments is None or segments.is_turned:
                    self._whole = whole_image(self._path)
                    return None
                self._cell = segments.cell
                wanted = _cells(box, self._cell)
                self._decode(segments, wanted)
        self._cells.update({place: self._cells.pop(place) for place in wanted})  # the newest
        self._drop(box)
        return self._put_together(box, wanted)

    def _decode(self, segments: Segments, wanted: list[tuple[int, int]]) -> None:
        if self._levels is None:
            segments.measure()
            self._levels = segments.levels
        segments.levels = self._levels
        for place in wanted:
            if place not in self._cells:
                self._cells[place] = segments.rgb(*place)

    def _drop(self, box: Box) -> None:
        """Forget the oldest cells, but not those of the rows of a rectangle."""
        assert self._cell is not None
        (high, wide), (height, width, _) = self._cell, self.shape
        rows = min(box[3] // high + 2, -(-height // high))
        for place in list(self._cells)[: -rows * -(-width // wide)]:
            del self._cells[place]

    def _put_together(self, box: Box, places: list[tuple[int, int]]) -> NDArray[np.uint8]:
        assert self._cell is not None
        (x, y, w, h), (high, wide) = box, self._cell
        found = np.empty((h, w, 3), np.uint8)
        for row, column in places:
            cell = self._cells[row, column]
            top, left = row * high, column * wide
            begin, end = max(y, top), min(y + h, top + len(cell))
            first, last = max(x, left), min(x + w, left + cell.shape[1])
            found[begin - y : end - y, first - x : last - x] = cell[
                begin - top : end - top, first - left : last - left
            ]
        return found


def _cells(box: Box, cell: tuple[int, int]) -> list[tuple[int, int]]:
    """Return row and column of the cells of a size (h, w) that a rectangle touches."""
    (x, y, w, h), (high, wide) = box, cell
    rows, columns = range(y // high, -(-(y + h) // high)), range(x // wide, -(-(x + w) // wide))
    return [(row, column) for row in rows for column in columns]


class _Part(Windows):
    """A rectangle of a picture."""

    def __init__(self, whole: Windows, box: Box) -> None:
        self._whole, self._corner, self.shape = whole, box[:2], (box[3], box[2], 3)

    def read(self, box: Box) -> NDArray[np.uint8]:
        x, y, w, h = box
        return self._whole.read((x + self._corner[0], y + self._corner[1], w, h))

    def close(self) -> None:
        self._whole.close()
