"""Compiled part of :mod:`unsam_cli.conquer.merge`: neighbour lists and the loop of merges.

The neighbours of a cluster are a circular list of half-edges. A merge joins two lists in O(1), then
walks the result, finds the current cluster of each target by union-find, and unlinks repeated ones.
Edges between the same two clusters are united in a second union-find, which adds up their border
values. Memory is O(n + E). All functions use these names, for n nodes, E edges and at most 2 n
clusters: `sums` (n, C), features of clusters; `edges` (E, 2), the nodes of each edge; `norms`
(2 n,), squared lengths of features; `head` (2 n,), one half-edge of each cluster's list or -1;
`following` (2 E,), the next half-edge of a list; `root` (2 n,) and `joined` (E,), parents of the
union-finds of clusters and of edges; `border` (E, 2), sum of border values and number of edges, or
(0, 2) without values; `heap` (2 E + 1,), keys of :mod:`unsam_cli.conquer._merge_queue`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unsam_cli.conquer._merge_queue import STEPS, compact, pack, push, sift, unpack
from unsam_cli.jit import kernel

MAX_NODES = 1 << 19  # the ids of clusters must fit into the keys of the queue

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Keys = NDArray[np.uint64]


@kernel(fastmath=True)
def _two_dots(one: Float64, rows: Float32, i: int, j: int) -> tuple[float, float]:
    """Scalar products of `one` with rows i and j, in one pass: memory access is the bottleneck."""
    first, second = 0.0, 0.0
    for c in range(rows.shape[1]):
        first += one[c] * np.float64(rows[i, c])
        second += one[c] * np.float64(rows[j, c])
    return first, second


@kernel(fastmath=True)
def _add(rows: Float32, i: int, j: int, wide: Float64) -> float:
    """Add row j to row i in float32, copy the sum to `wide`, and return its squared length."""
    norm = 0.0
    for c in range(rows.shape[1]):
        value = rows[i, c] + rows[j, c]
        rows[i, c] = value
        wide[c] = np.float64(value)
        norm += np.float64(value) * np.float64(value)
    return norm


@kernel()
def _similarity(dot: float, norms: float, weight: float) -> float:
    """Cosine (0 for zero features), or 1 / (1 + distance * weight) for a weight > 0."""
    cosine = 0.0
    if norms > 0.0:
        cosine = min(1.0, max(-1.0, dot / np.sqrt(norms)))
    return 1.0 / (1.0 + np.sqrt(2.0 - 2.0 * cosine) * weight) if weight > 0.0 else cosine


@kernel()
def find(root: Int64, i: int) -> int:
    """Find the representative of element i in a union-find, and shorten its path."""
    while root[i] != i:
        root[i] = root[root[i]]
        i = root[i]
    return i


@kernel()
def _join(joined: Int64, border: Float64, i: int, j: int) -> None:
    """Unite edges i and j, and add up their entries in `border`."""
    i, j = find(joined, i), find(joined, j)
    if i != j:
        joined[j] = i
        border[i] += border[j]


@kernel()
def _sharpness(joined: Int64, border: Float64, edge: int, exponent: float) -> float:
    """Mean value of all edges that `edge` is united with, to the power of `exponent`."""
    edge = find(joined, edge)
    mean = border[edge, 0] / border[edge, 1]
    return float(mean**exponent)


@kernel()
def _link(edges: Int64, n: int) -> tuple[Int64, Int64]:
    """Make `head` and `following`; half-edges 2e and 2e + 1 start at the two nodes of edge e."""
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
    """Join the lists of clusters i and j into the list of cluster `made`."""
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
    """Collect the neighbours of cluster `made`, unlink inner and repeated half-edges; count them.

    Each row of `found`, (n + 1, 2), gets a neighbour and the edge to it. `mark` and `place` (2 n,)
    are working memory: the cluster that last found a neighbour, and the neighbour's row in `found`.
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
            found[count, 0], found[count, 1] = target, half >> 1
            place[target] = count
            count += 1
        if half == last:
            break
        half = after
    head[made] = kept
    return count


@kernel()
def _first_keys(
    dots: Float64,
    edges: Int64,
    norms: Float64,
    weight: float,
    border: Float64,
    exponent: float,
    heap: Keys,
) -> int:
    """Push the keys of all edges; `weight` is for `_similarity`, `exponent` for border values."""
    count = 0
    for e in range(len(edges)):
        i, j = edges[e, 0], edges[e, 1]
        if i != j:
            sharp = border[e, 0] ** exponent if len(border) > 0 else 1.0
            similarity = _similarity(dots[e], norms[i] * norms[j], weight * sharp)
            count = push(heap, count, pack(similarity, i, j))
    return count


@kernel()
def merge_kernel(
    sums: Float32,
    edges: Int64,
    lengths: Float64,
    dots: Float64,
    size_exponent: float,
    border: Float64,
    border_exponent: float,
) -> tuple[Int64, Float64, Int64]:
    """Merge the most similar neighbours until no edge is left, as `merge.merge_tree` describes.

    `lengths` and `dots` are those of `first_dots`. `sums` and `border`, which starts with a value
    and a one per edge, are overwritten. Return
    `children`, `height` and `size` of :class:`unsam_cli.conquer.merge.MergeTree`.
    """
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
        norms[i] = lengths[i]
    head, following = _link(edges, n)
    heap = np.empty(2 * len(edges) + 1, dtype=np.uint64)
    count = _first_keys(dots, edges, norms, weights[1], border, border_exponent, heap)
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
        found[near, 0], found[near, 1] = made, 0  # a partner for the last one if the number is odd
        if count + near > len(heap):
            count = compact(heap, count, root)
        for k in range(0, near, 2):
            pair = _two_dots(wide, sums, row[found[k, 0]], row[found[k + 1, 0]])
            for side in range(min(2, near - k)):
                target, edge = found[k + side]
                weight = weights[min(size[made], size[target])]
                if sharpness:
                    weight *= _sharpness(joined, border, edge, border_exponent)
                similarity = _similarity(pair[side], norms[made] * norms[target], weight)
                count = push(heap, count, pack(similarity, made, target))
    return children[:merges], height[:merges], size[: n + merges]
