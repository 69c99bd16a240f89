"""Rows and columns of another number: a mirrored image gives the mirrored result."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def nearest(samples: int, cells: int) -> NDArray[np.int64]:
    """Cell that holds the middle of each sample, where both divide the same length evenly.

    Parameters
    ----------
    samples, cells : int
        Their numbers, at least 1.

    Returns
    -------
    (samples,) int64
        Ascending. A middle on the border of two cells takes the outer one; that of the whole
        length, which has no outer side, the first.
    """
    first = np.arange(samples - samples // 2, dtype=np.int64)
    left = ((2 * first + 1) * cells - 1) // (2 * samples)
    return np.concatenate([left, cells - 1 - left[: samples // 2][::-1]])


def between(rows: NDArray[Any], at: FloatArray) -> FloatArray:
    """Mix the two rows around each place.

    Parameters
    ----------
    rows : (n, m)
        Row k is at place k.
    at : (p,) float64
        Places, from 0 to n - 1.

    Returns
    -------
    (p, m) float64
    """
    first = np.minimum(at.astype(np.int64), len(rows) - 1)
    share = (at - first)[:, None]
    mixed: FloatArray = rows[first] * (1.0 - share)
    mixed += rows[np.minimum(first + 1, len(rows) - 1)] * share
    return mixed


def means(rows: NDArray[Any], count: int) -> FloatArray:
    """Mean of every one of `count` equal parts of (n, m) rows, shares of rows counted as such.

    Returns
    -------
    (count, m) float64
        In float64 throughout, so that the order of the rows shows in no float32.
    """
    total = np.zeros((len(rows) + 1, rows.shape[1]))
    rows.cumsum(axis=0, dtype=np.float64, out=total[1:])
    bounds = np.linspace(0, len(rows), count + 1)
    mean: FloatArray = np.diff(between(total, bounds), axis=0) * (count / len(rows))
    return mean


def tile_starts(length: int, tile: int, shared: int) -> list[int]:
    """First place of each of the fewest tiles that cover a length, evenly spread.

    Parameters
    ----------
    length, tile : int
        Their lengths; a tile is at most as long as what it covers.
    shared : int
        Least length that neighbouring tiles share, less than a tile.
    """
    if tile == length:
        return [0]
    gaps = -(-(length - tile) // (tile - shared))
    return [(length - tile) * i // gaps for i in range(gaps + 1)]
