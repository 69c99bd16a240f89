"""The runs of many masks of one image in flat arrays, to process all of them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unsam_cli.jit import kernel
from unsam_cli.rle.encoding import encode_all
from unsam_cli.rle.runs import (
    IntArray,
    NarrowArray,
    Rle,
    checked_size,
    complain,
    from_runs,
    parse,
    text_of,
)


@dataclass(frozen=True, slots=True)
class RunTable:
    """Runs of n masks of one image.

    Attributes
    ----------
    size : (H, W)
        Height and width of the image, in pixels; (0, 0) if unknown because there is no mask.
    offsets : (n + 1,) int64
        The runs of mask i are rows ``offsets[i]:offsets[i + 1]``.
    runs : (R, 2) int32
        Start and end (exclusive) of every run as column-major pixel indices.
    areas : (n,) int64
        Number of pixels of every mask.
    boxes : (n, 4) int64
        Tight box of every mask, x, y, w, h in pixels; zeros for an empty mask.
    """

    size: tuple[int, int]
    offsets: IntArray
    runs: NarrowArray
    areas: IntArray
    boxes: IntArray

    def __len__(self) -> int:
        return len(self.areas)

    @classmethod
    def from_rles(cls, rles: Sequence[Rle], *, size: tuple[int, int] | None = None) -> RunTable:
        """Build the table, in a few nanoseconds per byte of the compressed counts.

        Parameters
        ----------
        rles : sequence of Rle
            Masks of equal size.
        size : (H, W), optional
            Size that the masks must have, in pixels; needed only if `rles` may be empty.

        Raises
        ------
        ValueError
            If a mask is malformed or of another size; the message starts with its index.
        """
        sizes, offsets, runs, areas, boxes = _unpack(rles)
        expected = checked_size(size) if size is not None else (0, 0)
        if len(rles):
            expected = expected if size is not None else (int(sizes[0, 0]), int(sizes[0, 1]))
            strange = np.flatnonzero((sizes != expected).any(axis=1))
            if strange.size:
                height, width = sizes[strange[0]]
                raise ValueError(
                    f"mask {strange[0]}: size {height}x{width} differs from the image's "
                    f"{expected[0]}x{expected[1]}"
                )
        return cls(expected, offsets, runs, areas, boxes)

    @classmethod
    def from_runs(
        cls, offsets: IntArray, runs: IntArray | NarrowArray, size: tuple[int, int]
    ) -> RunTable:
        """Build the table from runs, whose order is not checked.

        Parameters
        ----------
        offsets : (n + 1,) int64
            The runs of mask i are rows ``offsets[i]:offsets[i + 1]``.
        runs : (R, 2) int32 or int64
            Start and end (exclusive) of every run as column-major pixel indices; within a mask,
            they ascend and do not touch.
        size : (H, W)
            Height and width of the image, in pixels.

        Raises
        ------
        ValueError
            If the size is invalid.
        """
        height, width = checked_size(size)
        sizes = np.tile(np.array([height, width], dtype=np.int64), (len(offsets) - 1, 1))
        narrow = runs.astype(np.int32, copy=False)
        return cls((height, width), offsets, narrow, *_measure(offsets, narrow, sizes))

    def take(self, order: IntArray) -> RunTable:
        """Return the table of the masks at the indices `order`, in this order."""
        order = np.asarray(order, dtype=np.int64)
        offsets, runs = _take_runs(self.offsets, self.runs, order)
        return RunTable(self.size, offsets, runs, self.areas[order], self.boxes[order])

    def rle(self, index: int) -> Rle:
        """Encode the mask at `index`.

        Raises
        ------
        ValueError
            If its runs overlap, descend or leave the image.
        """
        runs = self.runs[self.offsets[index] : self.offsets[index + 1]]
        try:
            return from_runs(runs, self.size)
        except ValueError as error:
            raise ValueError(f"mask {index}: {error}") from None

    def to_rles(self) -> list[Rle]:
        """Encode all masks.

        Raises
        ------
        ValueError
            If the runs of a mask overlap, descend or leave the image.
        """
        return encode_all(self.offsets, self.runs, self.size)


def area(rles: Sequence[Rle]) -> IntArray:
    """Count the pixels of every mask, (n,) int64; the masks may differ in size.

    Raises
    ------
    ValueError
        If a mask is malformed; the message starts with its index.
    """
    return _unpack(rles)[3]


def boxes(rles: Sequence[Rle]) -> IntArray:
    """Return tight boxes, (n, 4) int64: x, y, w, h in pixels; zeros for an empty mask.

    Errors are those of `area`.
    """
    return _unpack(rles)[4]


def _unpack(rles: Sequence[Rle]) -> tuple[IntArray, IntArray, NarrowArray, IntArray, IntArray]:
    """Return sizes (n, 2), offsets, runs, areas and boxes of masks of any sizes."""
    texts = []
    sizes = np.empty((len(rles), 2), dtype=np.int64)
    for index, rle in enumerate(rles):
        try:
            counts, *sizes[index] = text_of(rle)
        except ValueError as error:
            raise ValueError(f"mask {index}: {error}") from None
        texts.append(counts)
    ends = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    data = np.frombuffer(b"".join(texts), dtype=np.uint8)
    offsets, runs, code = _parse_all(data, ends, sizes)
    if code < 0:
        bad = len(offsets) - 1
        raise ValueError(f"mask {bad}: {complain(code, int(sizes[bad].prod()))}")
    areas, boxes = _measure(offsets, runs, sizes)
    return sizes, offsets, runs, areas, boxes


@kernel()
def _parse_all(
    data: NDArray[np.uint8], ends: IntArray, sizes: IntArray
) -> tuple[IntArray, NarrowArray, int]:
    """Return offsets, runs and 0; or offsets up to a bad mask, no runs, and its error code."""
    count = len(ends) - 1
    offsets = np.zeros(count + 1, dtype=np.int64)
    numbers = 0
    for place in range(len(data)):
        numbers += not (data[place] - 48) & 32
    runs = np.empty((numbers // 2, 2), dtype=np.int32)
    for index in range(count):
        at = offsets[index]
        pixels = sizes[index, 0] * sizes[index, 1]
        found = parse(data, ends[index], ends[index + 1], pixels, runs, at)
        if found < 0:
            return offsets[: index + 1], runs[:0], found
        offsets[index + 1] = at + found
    return offsets, runs[: offsets[count]], 0


@kernel()
def _take_runs(
    offsets: IntArray, runs: NarrowArray, order: IntArray
) -> tuple[IntArray, NarrowArray]:
    """Return offsets and runs of the masks in `order`."""
    taken = np.zeros(len(order) + 1, dtype=np.int64)
    for place in range(len(order)):
        taken[place + 1] = taken[place] + offsets[order[place] + 1] - offsets[order[place]]
    rows = np.empty((taken[-1], 2), dtype=np.int32)
    for place in range(len(order)):
        begin = offsets[order[place]]
        for row in range(taken[place + 1] - taken[place]):
            for side in range(2):
                rows[taken[place] + row, side] = runs[begin + row, side]
    return taken, rows


@kernel()
def _measure(offsets: IntArray, runs: NarrowArray, sizes: IntArray) -> tuple[IntArray, IntArray]:
    """Return areas, (n,), and boxes, (n, 4): x, y, w, h."""
    count = len(offsets) - 1
    areas = np.zeros(count, dtype=np.int64)
    boxes = np.zeros((count, 4), dtype=np.int64)
    for index in range(count):
        begin, end = offsets[index], offsets[index + 1]
        if begin == end:
            continue
        height = sizes[index, 0]
        left, right = runs[begin, 0] // height, (runs[end - 1, 1] - 1) // height
        top, bottom, column = height, 0, left
        for row in range(begin, end):
            areas[index] += runs[row, 1] - runs[row, 0]
            while runs[row, 0] >= (column + 1) * height:
                column += 1
            first, last = runs[row, 0] - column * height, runs[row, 1] - column * height
            if last > height:  # the run goes on in the next column
                first, last = 0, height
            top, bottom = min(top, first), max(bottom, last)
        boxes[index, 0], boxes[index, 1] = left, top
        boxes[index, 2], boxes[index, 3] = right - left + 1, bottom - top
    return areas, boxes
