"""Rectangles of a large picture, of which never more than needed is in memory.

A large TIFF is decoded by rows of the rectangles, see :mod:`~unsam_cli.io.segments`. Other large
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
        self.close()

    def read(self, box: Box) -> NDArray[np.uint8]:
        """Return a rectangle; an error comes again at once."""
        x, y, w, h = box
        with self._lock:
            if self._error is not None:
                raise self._error
            try:
                if self._whole is None and not self._holds(y, y + h):
                    self._decode(y, y + h)
            except UnsamError as error:
                self._error = error
                self.close()
                raise
            if self._whole is None:
                return self._rows[y - self._top : y + h - self._top, x : x + w].copy()
            return np.asarray(self._whole.crop((x, y, x + w, y + h)))

    def close(self) -> None:
        """Forget what was decoded."""
        self._whole: Image.Image | None = None
        self._top, self._rows = 0, np.empty((0, *self.shape[1:]), np.uint8)

    def _holds(self, top: int, bottom: int) -> bool:
        return self._top <= top and bottom <= self._top + len(self._rows)

    def _decode(self, top: int, bottom: int) -> None:
        """Decode rows, or the whole if its rows do not come one by one."""
        with opened_segments(self._path) as segments:
            if segments is not None and not segments.is_turned:
                self._add(segments, top, bottom)
                return
        self._whole = whole_image(self._path)

    def _add(self, segments: Segments, top: int, bottom: int) -> None:
        """Decode whole segments, so that those of the next rectangle are decoded once."""
        if self._levels is None:
            segments.measure()
            self._levels = segments.levels
        segments.levels, step, height = self._levels, segments.step, self.shape[0]
        begin, end = top // step * step, min(-(-bottom // step) * step, height)
        known = self._rows[begin - self._top :] if begin >= self._top else self._rows[:0]
        kept = len(known)
        rows = np.empty((end - begin, *self.shape[1:]), np.uint8)
        rows[:kept] = known
        for first in range(begin + kept, end, step):
            last = min(first + step, end)
            rows[first - begin : last - begin] = segments.rgb(first, last)
        self._top, self._rows = begin, rows


class _Part(Windows):
    """A rectangle of a picture."""

    def __init__(self, whole: Windows, box: Box) -> None:
        self._whole, self._corner, self.shape = whole, box[:2], (box[3], box[2], 3)

    def read(self, box: Box) -> NDArray[np.uint8]:
        x, y, w, h = box
        return self._whole.read((x + self._corner[0], y + self._corner[1], w, h))

    def close(self) -> None:
        self._whole.close()
