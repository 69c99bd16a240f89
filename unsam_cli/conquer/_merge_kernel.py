"""Compiled part of :mod:`unsam_cli.conquer.merge`: the loop of merges.

A pair of neighbours belongs to the newer cluster, which has the higher id. The queue holds one key
per cluster: the best of its pairs. If the older cluster of that pair is merged, the newer one looks
for its next best pair when the key comes to the top. So the queue is short, and most pairs never
enter it.

Memory is O(n + E). All functions use these names, besides those of
:mod:`unsam_cli.conquer._merge_lists`, for n nodes, E edges, C channels and at most 2 n clusters:
`features` (n, C), one row per node; `sums` (n // 2, C), features of the larger clusters that exist
at a time; `row` (2 n,), the row of each cluster, counted through both; `norms` (2 n,), squared
lengths of features; `heap` (2 n,), the queue of :mod:`unsam_cli.conquer._merge_queue`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unsam_cli.conquer._merge_lists import collect, find, link, next_best
from unsam_cli.conquer._merge_queue import STEPS, pack, push, sift, unpack
from unsam_cli.jit import kernel

MAX_NODES = 1 << 19  # the ids of clusters must fit into the keys of the queue

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Keys = NDArray[np.uint64]


@kernel(fastmath=True)
def _two_dots(one: Float64, first: Float32, second: Float32) -> tuple[float, float]:
    """Scalar products of `one` with two rows, in one pass: memory access is the bottleneck."""
    a, b = 0.0, 0.0
    for c in range(len(one)):
        a += one[c] * np.float64(first[c])
        b += one[c] * np.float64(second[c])
    return a, b


@kernel(fastmath=True)
def _add(first: Float32, second: Float32, out: Float32, wide: Float64) -> float:
    """Write the sum of two rows in float32 to `out` and `wide`; return its squared length."""
    norm = 0.0
    for c in range(len(wide)):
        value = first[c] + second[c]
        out[c] = value
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
def _first_keys(
    dots: Float64,
    edges: Int64,
    norms: Float64,
    sizes: Int64,
    weights: Float64,
    sharp: Float64,
    keys: Keys,
) -> Keys:
    """Write the keys of all edges; return the best key of each node, 0 for none."""
    best = np.zeros(len(norms), dtype=np.uint64)
    for e in range(len(edges)):
        i, j = edges[e, 0], edges[e, 1]
        if i != j:
            weight = weights[min(sizes[i], sizes[j])] * sharp[e]
            keys[e] = pack(_similarity(dots[e], norms[i] * norms[j], weight), i, j)
            best[max(i, j)] = max(best[max(i, j)], keys[e])
    return best


@kernel()
def _place(row: Int64, spare: Int64, used: int, i: int, j: int, made: int) -> int:
    """Choose the row of the sum of clusters i and j: one of theirs, or a new one for two nodes.

    `spare` (n // 2,) lists the rows of `sums`, the `used` ones first. Return how many are used now.
    """
    low, high = min(row[i], row[j]), max(row[i], row[j])
    nodes = len(row) // 2
    if high < nodes:
        row[made] = spare[used]
        return used + 1
    row[made] = high
    if low >= nodes:
        used -= 1
        spare[used] = low
    return used


@kernel()
def _compare(
    made: int,
    near: int,
    found: Int64,
    wide: Float64,
    features: Float32,
    sums: Float32,
    row: Int64,
    size: Int64,
    norms: Float64,
    weights: Float64,
    joined: Int32,
    sharp: Float64,
    keys: Keys,
) -> np.uint64:
    """Write the keys of the pairs of cluster `made` and its `near` neighbours; return the largest.

    `wide` (C,) holds the features of the cluster, `weights` (n + 1,) what distances are multiplied
    by for a smaller cluster of that size.
    """
    n = len(features)
    best = np.uint64(0)
    for k in range(0, near, 2):
        p, q = row[found[k, 0]], row[found[min(k + 1, near - 1), 0]]
        pair = _two_dots(
            wide,
            features[p] if p < n else sums[p - n],
            features[q] if q < n else sums[q - n],
        )
        for side in range(min(2, near - k)):
            target, edge = found[k + side, 0], found[k + side, 1]
            weight = weights[min(size[made], size[target])] * sharp[find(joined, edge)]
            similarity = _similarity(pair[side], norms[made] * norms[target], weight)
            keys[edge] = pack(similarity, made, target)
            best = max(best, keys[edge])
    return best


@kernel()
def merge_kernel(
    features: Float32,
    edges: Int64,
    lengths: Float64,
    dots: Float64,
    sizes: Int64,
    weights: Float64,
    border: Float64,
    border_exponent: float,
    most: int,
) -> tuple[Int64, Float64, Int64]:
    """Merge the most similar neighbours until no edge is left, as `merge.merge_tree` describes.

    `lengths` and `dots` are those of `first_dots`, `weights` those of `_compare`; `sizes` (n,) are
    the numbers of patches of the nodes. `border`, which starts with the sum of the border values of
    each edge and their number, is overwritten. At most `most` merges are made. Return `children`,
    `height` and `size` of :class:`unsam_cli.conquer.tree.MergeTree`.
    """
    n, channels = features.shape
    children = np.empty((n - 1, 2), dtype=np.int64)
    height = np.empty(n - 1, dtype=np.float64)
    size, row, root = np.empty(2 * n, np.int64), np.arange(2 * n), np.empty(2 * n, np.int32)
    norms, mark = np.empty(2 * n, dtype=np.float64), np.full(2 * n, -1, dtype=np.int64)
    for k in range(2 * n):
        root[k] = k
        norms[k], size[k] = lengths[min(k, n - 1)], sizes[min(k, n - 1)]
    ends = np.empty(2 * len(edges), dtype=np.int32)
    joined, sharp = np.empty(len(edges), dtype=np.int32), np.ones(len(edges))
    for e in range(len(edges)):
        joined[e], ends[2 * e], ends[2 * e + 1] = e, edges[e, 0], edges[e, 1]
        if len(border) > 0:
            sharp[e] = (border[e, 0] / border[e, 1]) ** border_exponent
    sums, used, spare = np.empty((n // 2, channels), np.float32), 0, np.arange(n, n + n // 2)
    wide, found = np.empty(channels, dtype=np.float64), np.empty((n, 2), dtype=np.int64)
    head, following = link(ends, n)
    keys, heap = np.zeros(len(edges), dtype=np.uint64), np.zeros(2 * n, dtype=np.uint64)
    count, lowest, merges, marked = 0, 1.0, 0, 0
    for key in _first_keys(dots, edges, lengths, sizes, weights, sharp, keys):
        count = push(heap, count, key)
    while count > 0 and heap[0] > 0 and merges < most:
        key = heap[0]
        i, j = unpack(key)
        if root[j] == j and root[i] != i:
            heap[0] = key = next_best(j, head, following, ends, root, keys)
            sift(heap, count, 0, key)
            continue
        count -= 1
        sift(heap, count, 0, heap[count])
        if root[j] != j:
            continue
        made = n + merges
        lowest = min(lowest, np.float64(key >> np.uint64(40)) / STEPS - 1.0)
        children[merges, 0], children[merges, 1], height[merges] = i, j, lowest
        merges += 1
        root[i] = root[j] = made
        size[made] = size[i] + size[j]
        used = _place(row, spare, used, i, j, made)
        norms[made] = _add(
            features[row[i]] if row[i] < n else sums[row[i] - n],
            features[row[j]] if row[j] < n else sums[row[j] - n],
            sums[row[made] - n],
            wide,
        )
        head[made], after = head[i], following[head[i]]
        following[head[i]], following[head[j]] = following[head[j]], after
        near = collect(
            head,
            following,
            ends,
            root,
            mark,
            made,
            marked,
            found,
            joined,
            border,
            sharp,
            border_exponent,
        )
        marked += near
        key = _compare(
            made, near, found, wide, features, sums, row, size, norms, weights, joined, sharp, keys
        )
        count = push(heap, count, key)
    return children[:merges], height[:merges], size[: n + merges]
