"""Compiled part of :mod:`unsam_cli.conquer.merge`: neighbour lists, the loop of merges.

Neighbours of a cluster are a circular list of half-edges. Merging splices two lists in O(1); the
walk that follows finds each target's present cluster by union-find and unlinks repeated ones, so
memory stays O(nodes + edges). Edges that become one do so in a second union-find, which sums what
is known of the border between two clusters; so both clusters' lists see the same sum.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unsam_cli.conquer._merge_queue import STEPS, compact, pack, push, sift, unpack
from unsam_cli.jit import kernel

MAX_NODES = 1 << 19  # so that ids of clusters fit the keys of the queue

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Keys = NDArray[np.uint64]


@kernel()
def all_finite(bits: NDArray[np.int32]) -> bool:
    """Whether no float32 of these bits is NaN or infinite: those have all exponent bits set."""
    worst = 0
    for k in range(len(bits)):
        worst = max(worst, bits[k] & 0x7F800000)
    return worst < 0x7F800000


@kernel(fastmath=True)
def _dot(rows: Float32, i: int, j: int) -> float:
    total = 0.0
    for c in range(rows.shape[1]):
        total += np.float64(rows[i, c]) * np.float64(rows[j, c])
    return total


@kernel(fastmath=True)
def _two_dots(one: Float64, rows: Float32, i: int, j: int) -> tuple[float, float]:
    """Two at once: the sums wait for memory, not for arithmetic."""
    first, second = 0.0, 0.0
    for c in range(rows.shape[1]):
        first += one[c] * np.float64(rows[i, c])
        second += one[c] * np.float64(rows[j, c])
    return first, second


@kernel(fastmath=True)
def _add(rows: Float32, i: int, j: int, wide: Float64) -> float:
    """Add row j to row i in float32, copy it to `wide`, return its squared length."""
    norm = 0.0
    for c in range(rows.shape[1]):
        value = rows[i, c] + rows[j, c]
        rows[i, c] = value
        wide[c] = np.float64(value)
        norm += np.float64(value) * np.float64(value)
    return norm


@kernel()
def _similarity(dot: float, norms: float, weight: float) -> float:
    """Cosine within [-1, 1], 0 for zero features; with a weight > 0 the chord's length decides."""
    cosine = 0.0
    if norms > 0.0:
        cosine = min(1.0, max(-1.0, dot / np.sqrt(norms)))
    return 1.0 / (1.0 + np.sqrt(2.0 - 2.0 * cosine) * weight) if weight > 0.0 else cosine


@kernel()
def find(root: Int64, i: int) -> int:
    while root[i] != i:
        root[i] = root[root[i]]
        i = root[i]
    return i


@kernel()
def _join(joined: Int64, border: Float64, i: int, j: int) -> None:
    """Make one edge of two: `border` has the sum of their values, and their number."""
    i, j = find(joined, i), find(joined, j)
    if i != j:
        joined[j] = i
        border[i] += border[j]


@kernel()
def _sharpness(joined: Int64, border: Float64, edge: int, exponent: float) -> float:
    """Mean value along the border that an edge is part of, to the power of an exponent."""
    edge = find(joined, edge)
    mean = border[edge, 0] / border[edge, 1]
    return float(mean**exponent)


@kernel()
def _link(edges: Int64, n: int) -> tuple[Int64, Int64]:
    """Circular lists of half-edges: half-edge 2e leaves ``edges[e, 0]``, 2e + 1 ``edges[e, 1]``."""
    head = np.full(2 * n, -1, dtype=np.int64)
    following = np.empty(2 * len(edges), dtype=np.int64)
    for half in range(2 * len(edges)):
        node = edges[half >> 1, half & 1]
        if head[node] < 0:
            head[node] = half
            following[half] = half
        else:
            following[half] = following[head[node]]
            following[head[node]] = half
    return head, following


@kernel()
def _splice(head: Int64, following: Int64, i: int, j: int, made: int) -> None:
    a, b = head[i], head[j]
    following[a], following[b] = following[b], following[a]
    head[made] = a


@kernel()
def _neighbours(
    head: Int64,
    following: Int64,
    edges: Int64,
    root: Int64,
    mark: Int64,
    made: int,
    found: Int64,
    joined: Int64,
    border: Float64,
    place: Int64,
) -> int:
    """Walk the list of `made` once, unlink inner and repeated half-edges, collect the others.

    `found` gets pairs of a neighbour and the edge to it; `place` is where a neighbour's pair is.
    """
    mark[made] = made
    last = previous = head[made]
    half, kept, count = following[previous], -1, 0
    while True:
        after = following[half]
        target = find(root, edges[half >> 1, 1 - (half & 1)])
        if mark[target] == made:
            following[previous] = after
            if target != made and len(border) > 0:
                _join(joined, border, found[place[target], 1], half >> 1)
        else:
            mark[target] = made
            previous = kept = half
            found[count] = target, half >> 1
            place[target] = count
            count += 1
        if half == last:
            break
        half = after
    head[made] = kept
    return count


@kernel()
def _first_keys(
    sums: Float32,
    edges: Int64,
    norms: Float64,
    weight: float,
    border: Float64,
    exponent: float,
    heap: Keys,
) -> int:
    count = 0
    for e in range(len(edges)):
        i, j = edges[e, 0], edges[e, 1]
        if i != j:
            sharp = border[e, 0] ** exponent if len(border) > 0 else 1.0
            similarity = _similarity(_dot(sums, i, j), norms[i] * norms[j], weight * sharp)
            count = push(heap, count, pack(similarity, i, j))
    return count


@kernel()
def merge_kernel(
    sums: Float32, edges: Int64, size_exponent: float, border: Float64, border_exponent: float
) -> tuple[Int64, Float64, Int64]:
    """Merge all; `sums` and `border`, (M, 2) values and ones, or (0, 2), are overwritten."""
    n, channels = sums.shape
    children = np.empty((n - 1, 2), dtype=np.int64)
    height = np.empty(n - 1, dtype=np.float64)
    size = np.ones(2 * n, dtype=np.int64)
    norms = np.empty(2 * n, dtype=np.float64)
    row, root, place = np.arange(2 * n), np.arange(2 * n), np.zeros(2 * n, dtype=np.int64)
    mark = np.full(2 * n, -1, dtype=np.int64)
    joined = np.arange(len(border))
    sharpness = len(border) > 0
    weights = np.zeros(n + 1)
    if size_exponent > 0.0 or sharpness:
        weights = np.arange(n + 1) ** size_exponent
    wide = np.empty(channels, dtype=np.float64)
    found = np.empty((n + 1, 2), dtype=np.int64)
    for i in range(n):
        norms[i] = _dot(sums, i, i)
    head, following = _link(edges, n)
    heap = np.empty(2 * len(edges) + 1, dtype=np.uint64)
    count = _first_keys(sums, edges, norms, weights[1], border, border_exponent, heap)
    lowest, merges = 1.0, 0
    while count > 0:
        key = heap[0]
        count -= 1
        sift(heap, count, 0, heap[count])
        i, j = unpack(key)
        if root[i] != i or root[j] != j:
            continue
        made = n + merges
        lowest = min(lowest, np.float64(key >> np.uint64(40)) / STEPS - 1.0)
        children[merges, 0], children[merges, 1], height[merges] = i, j, lowest
        merges += 1
        root[i] = root[j] = made
        size[made], row[made] = size[i] + size[j], row[i]
        norms[made] = _add(sums, row[i], row[j], wide)
        _splice(head, following, i, j, made)
        near = _neighbours(head, following, edges, root, mark, made, found, joined, border, place)
        found[near] = made, 0  # pairs the last one when their number is odd
        if count + near > len(heap):
            count = compact(heap, count, root)
        for k in range(0, near, 2):
            dots = _two_dots(wide, sums, row[found[k, 0]], row[found[k + 1, 0]])
            for side in range(min(2, near - k)):
                target, edge = found[k + side]
                weight = weights[min(size[made], size[target])]
                if sharpness:
                    weight *= _sharpness(joined, border, edge, border_exponent)
                similarity = _similarity(dots[side], norms[made] * norms[target], weight)
                count = push(heap, count, pack(similarity, made, target))
    return children[:merges], height[:merges], size[: n + merges]
