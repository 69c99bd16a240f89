"""From small maps to the runs of large masks: enlarged, cut at a threshold, never held in full.

Bilinear interpolation mixes a few neighbours with weights that add up to 1: where these lie on one
side of a threshold, so do all pixels between them. Only borders are computed pixel by pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unsam_cli.jit import kernel
from unsam_cli.rle.runs import IntArray

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Taps:
    """How the samples of one axis are mixed to more or fewer.

    Attributes
    ----------
    first : (m,) int64
        The first sample that goes into each result.
    weights : (m, t) float32
        Of it and of its successors.
    """

    first: IntArray
    weights: FloatArray

    @classmethod
    def bilinear(cls, n: int, *steps: tuple[int, int]) -> Taps:
        """Resize n samples, in one step or in several.

        Parameters
        ----------
        n : int
            Samples at first.
        steps : (m, kept)
            Resize to m samples and go on with the first `kept` of them.

        Notes
        -----
        Places are computed in float32, as torch's ``interpolate(mode="bilinear",
        align_corners=False)`` does: float64 would put far pixels elsewhere.
        """
        mixing = np.eye(n, dtype=np.float32)
        for m, kept in steps:
            before = len(mixing)
            at = (np.arange(m, dtype=np.float32) + np.float32(0.5)) * np.float32(
                np.float32(before) / np.float32(m)
            ) - np.float32(0.5)
            at = np.maximum(at, 0)[:kept]
            above = np.minimum(at.astype(np.int64), before - 1)
            share = (at - above.astype(np.float32))[:, None]
            mixing = (1 - share) * mixing[above] + share * mixing[np.minimum(above + 1, before - 1)]
        used = mixing != 0
        first = used.argmax(axis=1)
        span = int((n - used[:, ::-1].argmax(axis=1) - first).max())
        first = np.minimum(first, n - span)
        weights = np.take_along_axis(mixing, first[:, None] + np.arange(span), axis=1)
        return cls(first, np.ascontiguousarray(weights))

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True)
class Enlarged:
    """Masks cut out of enlarged maps.

    Attributes
    ----------
    offsets : (n + 1,) int64
        The runs of map i are rows ``offsets[i]:offsets[i + 1]``.
    runs : (R, 2) int64
        Start and end (exclusive) of the pixels above the threshold, as column-major indices.
    inner, outer : (n,) int64
        Pixels above the higher and above the lower threshold.
    """

    offsets: IntArray
    runs: IntArray
    inner: IntArray
    outer: IntArray


def enlarge(
    maps: FloatArray,
    rows: Taps,
    columns: Taps,
    *,
    threshold: float = 0.0,
    offset: float = 0.0,
    origin: int = 0,
    stride: int | None = None,
) -> Enlarged:
    """Resize maps and cut them at a threshold.

    Parameters
    ----------
    maps : (n, h, w) float32
        Values, such as logits.
    rows, columns : Taps
        From h to H, and from w to W.
    threshold : float
        Pixels above it belong to the mask.
    offset : float
        Pixels above ``threshold + offset`` and above ``threshold - offset`` are counted, too.
    origin, stride : int
        Index of the first pixel, and of one column to the next: where the map is a window of a
        larger image. By default 0 and H.
    """
    flipped = np.ascontiguousarray(maps.transpose(0, 2, 1), dtype=np.float32)
    starts = np.flatnonzero(np.diff(rows.first, prepend=-1))  # rows that mix the same samples
    groups = np.append(starts, len(rows)).astype(np.int64)
    cuts = np.array([threshold - offset, threshold, threshold + offset], dtype=np.float32)
    place = (origin, len(rows) if stride is None else stride)
    return Enlarged(
        *_enlarge(
            flipped, rows.first, rows.weights, groups, columns.first, columns.weights, cuts, *place
        )
    )


@kernel()
def _enlarge(
    maps: FloatArray,
    row_first: IntArray,
    row_weights: FloatArray,
    groups: IntArray,
    column_first: IntArray,
    column_weights: FloatArray,
    cuts: FloatArray,
    origin: int,
    stride: int,
) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Offsets, runs and counts of maps (n, w, h)."""
    n = len(maps)
    offsets = np.zeros(n + 1, dtype=np.int64)
    counts = np.zeros((n, 2), dtype=np.int64)
    runs = np.empty((1024, 2), dtype=np.int64)
    column = np.empty(maps.shape[2], dtype=np.float32)
    at = 0
    for index in range(n):
        left, right, top, bottom = _bounds(maps[index], cuts[0])
        taps = row_weights.shape[1]  # samples needed beyond the bounds
        low, high = max(top - taps, 0), min(bottom + taps + 1, len(column))
        begin = at
        for x in range(len(column_first)):
            near = column_first[x]
            if near > right or near + column_weights.shape[1] <= left:
                continue
            _mix(maps[index], near, column_weights[x], low, high, column)
            if at + len(row_first) // 2 + 2 > len(runs):
                runs = np.concatenate((runs, np.empty_like(runs)))
            at = _cut_column(
                column, top, bottom, row_first, row_weights, groups, cuts,
                origin + x * stride, begin, at, runs, counts[index],
            )  # fmt: skip
        offsets[index + 1] = at
    return offsets, runs[:at].copy(), counts[:, 1].copy(), counts[:, 0].copy()


@kernel()
def _bounds(map_: FloatArray, cut: float) -> tuple[int, int, int, int]:
    """First and last column and row (inclusive) of values above `cut` in a map (w, h)."""
    w, h = map_.shape
    left, right, top, bottom = w, -1, h, -1
    for x in range(w):
        for y in range(h):
            if map_[x, y] > cut:
                left, right = min(left, x), x
                top, bottom = min(top, y), max(bottom, y)
    return left, right, top, bottom


@kernel()
def _mix(
    map_: FloatArray, near: int, weights: FloatArray, low: int, high: int, column: FloatArray
) -> None:
    """One column of the result, still of the map's height, from sample `low` to before `high`."""
    for y in range(low, high):
        column[y] = weights[0] * map_[near, y]
    for tap in range(1, len(weights)):
        for y in range(low, high):
            column[y] += weights[tap] * map_[near + tap, y]


@kernel()
def _cut_column(
    column: FloatArray,
    top: int,
    bottom: int,
    first: IntArray,
    weights: FloatArray,
    groups: IntArray,
    cuts: FloatArray,
    base: int,
    begin: int,
    at: int,
    runs: IntArray,
    counts: IntArray,
) -> int:
    """Append the runs of one column to ``runs[at:]``; they touch no run before `begin`."""
    taps = weights.shape[1]
    for group in range(len(groups) - 1):
        near = first[groups[group]]
        if near + taps <= top:
            continue
        if near > bottom:
            break
        least, most = column[near], column[near]
        for tap in range(1, taps):
            least, most = min(least, column[near + tap]), max(most, column[near + tap])
        if most <= cuts[0]:
            continue
        start, end = groups[group], groups[group + 1]
        if least > cuts[2]:
            counts += end - start
            at = _append(base + start, base + end, begin, at, runs)
            continue
        for y in range(start, end):
            value = weights[y, 0] * column[near]
            for tap in range(1, taps):
                value += weights[y, tap] * column[near + tap]
            counts[0] += value > cuts[0]
            counts[1] += value > cuts[2]
            if value > cuts[1]:
                at = _append(base + y, base + y + 1, begin, at, runs)
    return at


@kernel()
def _append(start: int, end: int, begin: int, at: int, runs: IntArray) -> int:
    if at > begin and runs[at - 1, 1] == start:
        runs[at - 1, 1] = end
        return at
    runs[at, 0] = start
    runs[at, 1] = end
    return at + 1
