"""Two bilinear steps, computed column by column, with only a few columns in memory.

A pixel is computed only if a logit that it depends on is positive, up to gaps within a column. An
average of values that are not positive, with weights that are not negative, is not positive either,
also in floating point.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from unsam_cli.jit import kernel
from unsam_cli.rle._enlarge_arrays import bisect, clear, grown
from unsam_cli.rle._factors import Factors, multiply
from unsam_cli.rle.axes import Axis, Indices, Step, Weights
from unsam_cli.rle.runs import IntArray

FloatArray = NDArray[np.float32]
Int = Any  # int or np.int64

_CERTAIN = np.float32(40)  # a logit whose sigmoid is 1 in double precision


@intrinsic  # type: ignore[untyped-decorator]
def _fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a * b + c, rounded once."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.fma(*values)

    return types.float32(types.float32, types.float32, types.float32), generate


@kernel()
def trace(
    maps: FloatArray,
    factors: Factors | None,
    rows: Axis,
    columns: Axis,
    place: tuple[int, int],
    offset: Any,
    summed: bool,
) -> tuple[IntArray, IntArray, IntArray, IntArray, NDArray[np.float64]]:
    """Compute the attributes of `Enlarged`.

    Parameters
    ----------
    maps, factors
        (n, w, h) logits and None, or (C, w, h) features and their factors.
    rows, columns
        Resampling from h to H rows, and from w to W columns.
    place
        Index of the first pixel, and difference of the indices of adjacent columns.
    offset : float32
        Unless it is 0, pixels above it and above minus it are counted.
    summed
        Whether sigmoids are summed.
    """
    _, w, h = maps.shape
    height = len(rows.low)
    n = len(maps) if factors is None else len(factors.embeddings)
    top, bottom = np.empty(w, np.int64), np.empty(w, np.int64)
    clear(top, bottom, np.int64(0), w, h)
    scratch = np.empty((0 if factors is None else w, h), np.float32)
    held = np.empty(2, np.int64)
    pair = np.empty((2, len(rows.inner.first)), np.float32)
    low, mixed = np.empty(h, np.float32), np.empty(len(rows.inner.first), np.float32)
    line = np.empty(height, np.float32)
    offsets, sums = np.empty(n + 1, np.int64), np.empty(n, np.float64)
    inner, outer = np.empty(n, np.int64), np.empty(n, np.int64)
    runs = np.empty((4096, 2), np.int64)
    at = offsets[0] = int(np.int64(0))
    for index in range(n):
        begin = at
        inner[index] = outer[index] = 0
        sums[index] = 0.0
        held[0] = held[1] = -1
        if factors is None:
            map_, window = maps[index], (np.int64(0), np.int64(0), w, h)
        else:
            x0, y0, x1, y1 = factors.windows[index]
            map_, window = scratch, (x0, y0, x1, y1)
            multiply(maps, factors.embeddings[index], window, map_)
        _extents(map_, window, -offset, top, bottom)
        for x in range(bisect(columns.high, window[0]), bisect(columns.low, window[2])):
            start, end = _span(rows, top, bottom, columns.low[x], columns.high[x])
            if start == end:
                continue
            for c in (np.int64(columns.outer.first[x]), np.int64(columns.outer.second[x])):
                if held[c & 1] != c:
                    held[c & 1] = c
                    _enlarge(map_, c, rows, columns.inner, top, bottom, low, pair[c & 1])
            a, b = rows.outer.first[start], rows.outer.second[end - 1] + 1
            left, right = columns.outer.first[x] & 1, columns.outer.second[x] & 1
            near, far = columns.outer.near[x], columns.outer.far[x]
            _blend(pair[left, a:b], pair[right, a:b], near, far, mixed[a:b])
            _resample(mixed, rows.outer, start, end, line)
            while at + (end - start) // 2 + 1 > len(runs):
                runs = grown(runs)
            base = place[0] + x * place[1] + start
            at, inside = _cut(line[start:end], base, begin, at, runs, summed)
            sums[index] += inside
            if offset:
                inner[index] += _count(line[start:end], offset)
                outer[index] += _count(line[start:end], -offset)
        clear(top, bottom, window[0], window[2], h)
        offsets[index + 1] = at
    return offsets, runs[:at].copy(), inner, outer, sums


@kernel()
def _extents(map_: FloatArray, window: Any, cut: Any, top: IntArray, bottom: IntArray) -> None:
    """Find the first and last logit above `cut` in each column of a window; h and -1 if none is."""
    x0, y0, x1, y1 = window
    for x in range(x0, x1):
        a, b = y0, y1 - 1
        while a < y1 and not map_[x, a] > cut:
            a += 1
        while b >= a and not map_[x, b] > cut:
            b -= 1
        top[x], bottom[x] = (a, b) if a < y1 else (map_.shape[1], -1)


@kernel()
def _span(rows: Axis, top: IntArray, bottom: IntArray, left: Int, right: Int) -> tuple[Int, Int]:
    """Return start and end of the image rows that positive logits of columns left..right reach."""
    first, last = top[left], bottom[left]
    for x in range(left + 1, right + 1):
        first, last = min(first, top[x]), max(last, bottom[x])
    if last < 0:
        return 0, 0
    start = bisect(rows.high, first)
    return start, max(start, bisect(rows.low, last + 1))


@kernel()
def _enlarge(
    map_: FloatArray,
    c: Int,
    rows: Axis,
    columns: Step,
    top: IntArray,
    bottom: IntArray,
    low: FloatArray,
    out: FloatArray,
) -> None:
    """Compute column `c` of the network's input, in the rows that columns of the image need."""
    left = np.int64(columns.first[max(c - 1, 0)])
    right = np.int64(columns.second[min(c + 1, len(columns.first) - 1)])
    start, end = _span(rows, top, bottom, left, right)
    if start == end:
        return
    a, b = np.int64(rows.outer.first[start]), np.int64(rows.outer.second[end - 1]) + 1
    first, last = rows.inner.first[a], rows.inner.second[b - 1] + 1
    near, far = map_[columns.first[c], first:last], map_[columns.second[c], first:last]
    _blend(near, far, columns.near[c], columns.far[c], low[first:last])
    _resample(low, rows.inner, a, b, out)


@kernel()
def _blend(a: FloatArray, b: FloatArray, near: Any, far: Any, out: FloatArray) -> None:
    """Interpolate two columns, with products rounded as in torch on a CPU."""
    for y in range(len(out)):
        out[y] = _fma(a[y], near, b[y] * far)


@kernel()
def _resample(column: FloatArray, step: Step, start: Int, end: Int, out: FloatArray) -> None:
    """Interpolate rows of a column to rows start..end of `out`."""
    first, second = step.first[start:end], step.second[start:end]
    _gather(column, first, second, step.near[start:end], step.far[start:end], out[start:end])


@kernel()
def _gather(
    column: FloatArray,
    first: Indices,
    second: Indices,
    near: Weights,
    far: Weights,
    out: FloatArray,
) -> None:
    for y in range(len(out)):
        out[y] = _fma(column[first[y]], near[y], column[second[y]] * far[y])


@kernel()
def _cut(
    line: FloatArray, base: int, begin: int, at: int, runs: IntArray, summed: bool
) -> tuple[int, float]:
    """Append the runs of positive values to ``runs[at:]``; sum their sigmoids if `summed`.

    Runs from `begin` on belong to the same mask.
    """
    y, n, total = 0, len(line), 0.0
    while y < n:
        while y < n and not line[y] > 0:
            y += 1
        if y == n:
            break
        start = y
        while y < n and line[y] > 0:
            y += 1
        if summed:
            total += _sum(line[start:y])
        if at > begin and runs[at - 1, 1] == base + start:
            runs[at - 1, 1] = base + y
        else:
            runs[at, 0] = base + start
            runs[at, 1] = base + y
            at += 1
    return at, total


@kernel()
def _count(line: FloatArray, cut: Any) -> int:
    count = 0
    for y in range(len(line)):
        count += line[y] > cut
    return count


@kernel(fastmath=True)
def _sum(line: FloatArray) -> float:
    """Sum the sigmoids of positive values, each with an error below 1e-10."""
    total = 0.0
    for y in range(len(line)):
        value = np.float64(line[y] if line[y] < _CERTAIN else _CERTAIN)
        # exp(-x) = exp(-x / 256) ** 256: vectorised, unlike the library function.
        t = value * (-1 / 256)
        e = 1 + t * (1 + t * (1 / 2 + t * (1 / 6 + t * (1 / 24))))
        e *= e
        e *= e
        e *= e
        e *= e
        e *= e
        e *= e
        e *= e
        e *= e
        total += np.divide(1.0, 1 + e)  # unlike /, not checked for zero
    return total
