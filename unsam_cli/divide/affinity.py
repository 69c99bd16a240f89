"""The graph that a cut divides: patches joined where the cosine of their features exceeds tau.

Weights take only two values, so the graph is stored as bits: 1.6 MB for 3600 patches, where the
float64 matrix takes 104 MB. The product with a vector handles eight rows per byte: it looks up
their sum in a table of all 256 possible sums (the "method of the Four Russians"). The result is
exact up to float64 rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unsam_cli.jit import kernel

EPS = 1e-5
"""Weight of pairs of patches that are not joined. It keeps the graph connected."""

Array = NDArray[Any]

_STRIP = 256  # rows of cosines in memory at once; a multiple of 8
_TIE = 1e-5  # cosines nearer to tau than this are decided in float64


@dataclass(frozen=True)
class Affinity:
    """Symmetric weights between n nodes: 1 where joined, else `eps`.

    Attributes
    ----------
    bits : (ceil(n / 8), n) uint8
        Bit k of ``bits[g, j]`` says whether nodes ``8 * g + k`` and j are joined.
    joined : (n,) int64
        Number of nodes that each node is joined with, itself included.
    eps : float
        Weight of pairs that are not joined. An erased node has this weight with itself, too.
    """

    bits: NDArray[np.uint8]
    joined: NDArray[np.int64]
    eps: float = EPS

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return len(self.joined)

    @property
    def degree(self) -> NDArray[np.float64]:
        """Row sums of the weights, (n,) float64."""
        joined = self.joined.astype(np.float64)
        return self.nodes * self.eps + (1 - self.eps) * joined

    def times(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Multiply the weights by a vector (n,) float64; the result has the same shape and type."""
        return (1 - self.eps) * _multiply(self.bits, x) + self.eps * x.sum()  # type: ignore[no-any-return]

    def erased(self, nodes: NDArray[np.bool_]) -> Affinity:
        """Return a copy whose given nodes, (n,) bool, are not joined with any node."""
        keep = np.packbits(~nodes, bitorder="little")
        bits = self.bits & keep[:, None]
        bits[:, nodes] = 0
        return Affinity(bits, _count(bits), self.eps)

    def dense(self) -> NDArray[np.float64]:
        """Return the weights as an (n, n) float64 matrix, for small graphs."""
        joined = np.unpackbits(self.bits, axis=0, count=self.nodes, bitorder="little")
        return np.where(joined, 1.0, self.eps)


def affinity(features: ArrayLike, *, tau: float, eps: float = EPS) -> Affinity:
    """Join the pairs of patches whose features have a cosine above `tau`.

    Parameters
    ----------
    features : (n, C) float32
        One vector per patch, of any length. A patch with a zero vector is joined with nothing.
    tau : float
        Threshold on the cosine, in [-1, 1).
    eps : float
        Weight of pairs that are not joined, in (0, 1).

    Returns
    -------
    Affinity
        The graph. It does not depend on the number of BLAS threads: where float32 cannot tell
        whether a cosine is above `tau`, it is recomputed in float64.

    Raises
    ------
    ValueError
        The features are not (n, C) with n and C positive, or not finite; an option is out of range.
    """
    raw = np.ascontiguousarray(features, dtype=np.float32)
    if raw.ndim != 2 or not raw.size:
        raise ValueError(f"features must be (n, C) and not empty, not shape {raw.shape}")
    if not -1 <= tau < 1:
        raise ValueError(f"tau is a cosine in [-1, 1), not {tau}")
    if not 0 < eps < 1:
        raise ValueError(f"eps is a weight in (0, 1), not {eps}")
    unit, length = _normalise(raw)
    if not np.isfinite(length).all():
        first = int(np.flatnonzero(~np.isfinite(length))[0])
        raise ValueError(f"features of patch {first} hold NaN or infinity; extract them again")
    n = len(unit)
    bits = np.zeros((-(-n // 8), n), np.uint8)
    for start in range(0, n, _STRIP):  # the matrix is symmetric: only its upper half is computed
        cosines = unit[start : start + _STRIP] @ unit[start:].T
        _pack(cosines, start, tau, raw, length, bits)
    _mirror(bits, _STRIP // 8)
    graph = Affinity(bits, _count(bits), eps)
    empty = length == 0
    return graph.erased(empty) if empty.any() else graph


@kernel()
def _normalise(features: Array) -> tuple[Array, Array]:
    """Scale nonzero vectors to length 1, in float32; also return the lengths, in float64."""
    n, channels = features.shape
    unit = np.zeros((n, channels), np.float32)
    length = np.zeros(n, np.float64)
    for i in range(n):
        total = 0.0
        for c in range(channels):
            total += np.float64(features[i, c]) ** 2
        length[i] = np.sqrt(total)
        if total > 0:
            for c in range(channels):
                unit[i, c] = features[i, c] / length[i]
    return unit, length


@kernel()
def _pack(
    cosines: Array, start: int, tau: float, features: Array, length: Array, bits: Array
) -> None:
    """Write the bits of rows `start`... and columns `start`... of the joined matrix."""
    rows, columns = cosines.shape
    threshold, tie = np.float32(tau), np.float32(_TIE)
    for first in range(0, rows, 8):
        out = bits[(start + first) // 8, start:]
        for k in range(min(8, rows - first)):
            row = cosines[first + k]
            near = 0
            for j in range(columns):
                out[j] |= np.uint8(row[j] > threshold) << k
                near += abs(row[j] - threshold) < tie
            if near:
                _decide_ties(row, start, first + k, tau, features, length, out)


@kernel()
def _decide_ties(
    row: Array, start: int, i: int, tau: float, features: Array, length: Array, out: Array
) -> None:
    """Decide in float64 the pairs of row `i` of a strip whose cosine is too close to `tau`."""
    bit = np.uint8(1 << (i % 8))
    a = features[start + i]
    for j in range(row.shape[0]):
        if abs(row[j] - tau) < 2 * _TIE:
            b = features[start + j]
            total = 0.0
            for c in range(features.shape[1]):
                total += np.float64(a[c]) * np.float64(b[c])
            # The product of the lengths first: it is the same for (i, j) and (j, i).
            if total > tau * (length[start + i] * length[start + j]):
                out[j] |= bit
            else:
                out[j] &= ~bit


@kernel()
def _mirror(bits: Array, strip: int) -> None:
    """Copy the blocks above the diagonal strips to those below, 8 x 8 bits at a time."""
    groups, n = bits.shape
    for g in range(groups):
        for h in range((g // strip + 1) * strip, groups):
            word = np.uint64(0)
            for k in range(min(8, n - 8 * h)):
                word |= np.uint64(bits[g, 8 * h + k]) << np.uint64(8 * k)
            for k in range(8):  # column k of the block becomes byte k
                byte = np.uint8(0)
                for b in range(8):
                    byte |= np.uint8((word >> np.uint64(8 * b + k)) & np.uint64(1)) << b
                bits[h, 8 * g + k] = byte


@kernel()
def _count(bits: Array) -> Array:
    """Count the bits of each column."""
    groups, n = bits.shape
    ones = np.zeros(256, np.int64)
    for value in range(256):
        ones[value] = ones[value >> 1] + (value & 1)
    total = np.zeros(n, np.int64)
    for g in range(groups):
        for j in range(n):
            total[j] += ones[bits[g, j]]
    return total


@kernel()
def _multiply(bits: Array, x: Array) -> Array:
    """Multiply the 0/1 matrix by a vector, with four tables of 256 sums (8 kB of L1 cache)."""
    groups, n = bits.shape
    result = np.zeros(n, np.float64)
    table = np.zeros((4, 256), np.float64)
    for g in range(0, groups - groups % 4, 4):
        for q in range(4):
            _tabulate(x[8 * (g + q) : 8 * (g + q) + 8], table[q])
        p0, p1, p2, p3 = bits[g], bits[g + 1], bits[g + 2], bits[g + 3]
        for j in range(n):
            result[j] += (table[0, p0[j]] + table[1, p1[j]]) + (table[2, p2[j]] + table[3, p3[j]])
    for g in range(groups - groups % 4, groups):
        _tabulate(x[8 * g : 8 * g + 8], table[0])
        for j in range(n):
            result[j] += table[0, bits[g, j]]
    return result


@kernel()
def _tabulate(x: Array, table: Array) -> None:
    """Fill `table` with the sums of all subsets of at most eight values."""
    size = 1
    for k in range(x.shape[0]):
        for m in range(size):
            table[size + m] = table[m] + x[k]
        size *= 2
