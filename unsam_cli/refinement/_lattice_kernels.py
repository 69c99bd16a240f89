"""Compiled loops of the permutohedral lattice and of the mean field on it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unsam_cli.jit import kernel

Array = NDArray[Any]

BITS = 12
"""Bits per coordinate of a vertex in its key; up to five coordinates fit into 60 bits."""
_HALF = 1 << (BITS - 1)
_MULTIPLIER = -7046029254386353131  # 2**64 divided by the golden ratio, as a signed number
_FIRST_SLOTS = 1 << 16


@kernel()
def place(features: Array, scale: Array) -> tuple[Array, Array, Array, Array]:
    """Find the simplex of the lattice around every point.

    Parameters
    ----------
    features : (n, d) float64
        Points, in standard deviations.
    scale : (d,) float64
        Factors of the features before they are elevated to the plane of the lattice.

    Returns
    -------
    vertices : (n, d + 1) uint32
        Index of the vertices of each simplex.
    weights : (n, d + 1) float32
        Barycentric coordinates of the points.
    keys : (m,) int64
        Key of each vertex, by index.
    slots : (s,) int32
        Hash table: index of the vertex in each slot, -1 if it is empty.
    """
    n, d = features.shape
    vertices = np.empty((n, d + 1), np.uint32)
    weights = np.empty((n, d + 1), np.float32)
    high = np.empty(d + 1)
    corner = np.empty(d + 1, np.int64)
    rank = np.empty(d + 1, np.int64)
    share = np.empty(d + 2)
    slots = np.full(_FIRST_SLOTS, -1, np.int32)
    keys = np.empty(_FIRST_SLOTS, np.int64)
    count = 0
    for i in range(n):
        _elevate(features[i], scale, high)
        _nearest_corner(high, corner, rank)
        _barycentric(high, corner, rank, share)
        for r in range(d + 1):
            key = np.int64(0)
            for j in range(d):
                at = corner[j] + (r if rank[j] <= d - r else r - d - 1)
                key = (key << BITS) | (at + _HALF)
            slot = _find(keys, slots, key)
            if slots[slot] < 0:
                if count == len(keys):
                    keys = np.concatenate((keys, np.empty(count, np.int64)))
                keys[count] = key
                slots[slot] = count
                count += 1
                if 2 * count > len(slots):
                    slots = _more_slots(keys[:count], 4 * len(slots))
                    slot = _find(keys, slots, key)
            vertices[i, r] = slots[slot]
            weights[i, r] = share[r]
    return vertices, weights, keys[:count].copy(), slots


@kernel()
def _elevate(point: Array, scale: Array, high: Array) -> None:
    """Map a point to the plane of d + 1 coordinates whose sum is 0."""
    d = len(point)
    total = 0.0
    for j in range(d, 0, -1):
        scaled = point[j - 1] * scale[j - 1]
        high[j] = total - j * scaled
        total += scaled
    high[0] = total


@kernel()
def _nearest_corner(high: Array, corner: Array, rank: Array) -> None:
    """Find the nearest point with coordinates divisible by d + 1, and order the differences."""
    d = len(high) - 1
    total = 0
    for j in range(d + 1):
        whole = int(np.floor(high[j] / (d + 1) + 0.5))
        corner[j] = whole * (d + 1)
        total += whole
        rank[j] = 0
    for a in range(d):
        for b in range(a + 1, d + 1):
            if high[a] - corner[a] < high[b] - corner[b]:
                rank[a] += 1
            else:
                rank[b] += 1
    for j in range(d + 1):  # rounding may leave the plane by `total` steps
        rank[j] += total
        if rank[j] < 0:
            rank[j] += d + 1
            corner[j] += d + 1
        elif rank[j] > d:
            rank[j] -= d + 1
            corner[j] -= d + 1


@kernel()
def _barycentric(high: Array, corner: Array, rank: Array, share: Array) -> None:
    """Weights of the d + 1 vertices of the simplex around a point."""
    d = len(high) - 1
    share[:] = 0
    for j in range(d + 1):
        offset = (high[j] - corner[j]) / (d + 1)
        share[d - rank[j]] += offset
        share[d + 1 - rank[j]] -= offset
    share[0] += 1 + share[d + 1]


@kernel()
def _find(keys: Array, slots: Array, key: Any) -> Any:
    """Return the slot of a key, or the empty slot where it belongs."""
    slot = (key * _MULTIPLIER >> 20) & (len(slots) - 1)
    while slots[slot] >= 0 and keys[slots[slot]] != key:
        slot = (slot + 1) & (len(slots) - 1)
    return slot


@kernel()
def _more_slots(keys: Array, size: int) -> Array:
    slots = np.full(size, -1, np.int32)
    for vertex in range(len(keys)):
        slots[_find(keys, slots, keys[vertex])] = vertex
    return slots


@kernel()
def neighbours(keys: Array, slots: Array, d: int, first: int, none: int) -> Array:
    """Find the two neighbours of every vertex along every axis of the lattice.

    Parameters
    ----------
    keys, slots : (m,) int64, (s,) int32
        The vertices, as `place` returns them.
    d : int
        Number of features.
    first : int
        What is added to the index of a vertex.
    none : int
        What stands for a neighbour that is no vertex.

    Returns
    -------
    (d + 1, m, 2) uint32
    """
    found = np.empty((d + 1, len(keys), 2), np.uint32)
    ones = np.int64(0)
    for _ in range(d):
        ones = (ones << BITS) | 1
    for axis in range(d + 1):
        step = ones
        if axis < d:
            step -= np.int64(d + 1) << (BITS * (d - 1 - axis))
        for vertex in range(len(keys)):
            for side in range(2):
                key = keys[vertex] + (step if side else -step)
                other = slots[_find(keys, slots, key)]
                found[axis, vertex, side] = other + first if other >= 0 else none
    return found


@kernel(fastmath=True)
def blur(values: Array, result: Array, near: Array, first: int) -> None:
    """Smooth the values of a lattice along one axis, with the weights 1/2, 1, 1/2.

    `values` and `result` are (vertices + 1, channels) float32, and their last row is zero. `near`
    is (m, 2): the neighbours of the vertices from `first` on.
    """
    channels = values.shape[1]
    for vertex in range(len(near)):
        before, after = values[near[vertex, 0]], values[near[vertex, 1]]
        own, out = values[first + vertex], result[first + vertex]
        for c in range(channels):
            out[c] = own[c] + np.float32(0.5) * (before[c] + after[c])


@kernel(fastmath=True, checked=False)
def advance(
    vertices: Array, weights: Array, marks: Array, values: Array, result: Array, last: bool
) -> None:
    """One round of the mean field: from the lattice to the pixels and back.

    Parameters
    ----------
    vertices, weights : (n, k) uint32, (n, k) float32
        Vertices around each pixel, of all lattices.
    marks : (n, channels) uint8
        The masks, 0 or 1; in the last round they become the result.
    values : (vertices + 1, channels) float32
        What the pixels think, smoothed.
    result : (vertices + 1, channels) float32
        Zeros, to which what the pixels think now is added.
    last : bool
        Whether this is the last round.
    """
    n, k = vertices.shape
    channels = marks.shape[1]
    logit = np.empty(channels, np.float32)
    for i in range(n):
        for c in range(channels):
            logit[c] = np.float32(2) * marks[i, c] - np.float32(1)
        for r in range(k):
            near, weight = values[vertices[i, r]], weights[i, r]
            for c in range(channels):
                logit[c] += weight * near[c]
        if last:
            for c in range(channels):
                marks[i, c] = logit[c] > 0
            continue
        for c in range(channels):
            logit[c] = _tanh_half(logit[c])
        for r in range(k):
            there, weight = result[vertices[i, r]], weights[i, r]
            for c in range(channels):
                there[c] += weight * logit[c]


@kernel(fastmath=True, checked=False)
def _tanh_half(x: Any) -> Any:
    """Return tanh(x / 2) with an error below 1e-6: a continued fraction, and the angle doubled."""
    y = min(max(x, np.float32(-18)), np.float32(18)) * np.float32(0.25)
    s = y * y
    above = y * (np.float32(10395) + s * (np.float32(1260) + s * np.float32(21)))
    below = np.float32(10395) + s * (np.float32(4725) + s * (np.float32(210) + s))
    t = above / below
    return (t + t) / (np.float32(1) + t * t)


@kernel()
def set_marks(offsets: Array, runs: Array, marks: Array) -> None:
    """Fill `marks` (n, channels) uint8, zeros, from the runs of as many masks or fewer."""
    for mask in range(len(offsets) - 1):
        for row in range(offsets[mask], offsets[mask + 1]):
            for pixel in range(runs[row, 0], runs[row, 1]):
                marks[pixel, mask] = 1
