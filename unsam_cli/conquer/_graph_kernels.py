"""Compiled part of :mod:`unsam_cli.conquer.merge`: what all trees over a graph begin with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unsam_cli.jit import kernel

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


@kernel()
def all_finite(bits: NDArray[np.int32]) -> bool:
    """Whether no float32 with these bits is NaN or infinite, which have all exponent bits set."""
    worst = 0
    for k in range(len(bits)):
        worst = max(worst, bits[k] & 0x7F800000)
    return worst < 0x7F800000


@kernel(fastmath=True)
def _dot(rows: Float32, i: int, j: int) -> float:
    """Scalar product of rows i and j, summed in float64."""
    total = 0.0
    for c in range(rows.shape[1]):
        total += np.float64(rows[i, c]) * np.float64(rows[j, c])
    return total


@kernel()
def first_dots(rows: Float32, edges: Int64) -> tuple[Float64, Float64]:
    """Squared lengths of all rows, (n,), and scalar products along all edges, (E,)."""
    norms = np.empty(len(rows), dtype=np.float64)
    dots = np.empty(len(edges), dtype=np.float64)
    for i in range(len(rows)):
        norms[i] = _dot(rows, i, i)
    for e in range(len(edges)):
        dots[e] = _dot(rows, edges[e, 0], edges[e, 1])
    return norms, dots


@kernel()
def row_sums(rows: Float32, owner: Int64, count: int) -> Float32:
    """Sum of the rows of each of `count` owners, (count, C); `owner` is (n,)."""
    out = np.zeros((count, rows.shape[1]), dtype=np.float32)
    for i in range(len(rows)):
        for c in range(rows.shape[1]):
            out[owner[i], c] += rows[i, c]
    return out
