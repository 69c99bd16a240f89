"""Compiled part of :mod:`unsam_cli.conquer.merge`: the neighbours of clusters.

They are a circular list of half-edges. A merge joins two lists in O(1), then walks the result,
finds the current cluster of each target by union-find, and unlinks repeated ones. Edges between the
same two clusters are united in a second union-find, which adds up their border values.

All functions use these names, for n nodes, E edges and at most 2 n clusters: `ends` (2 E,), the
cluster where each half-edge starts, or one that has become part of it: half-edges 2e and 2e + 1
start at the two nodes of edge e; `head` (2 n,), one half-edge of each cluster's list or -1;
`following` (2 E,), the next half-edge of a list; `root` (2 n,) and `joined` (E,), parents of the
union-finds of clusters and of edges; `border` (E, 2), sum of border values and number of edges, or
(0, 2) without values; `sharp` (E,), their mean to the power of `exponent`; `keys` (E,), the key of
the pair that an edge stands for, see :mod:`unsam_cli.conquer._merge_queue`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unsam_cli.jit import kernel

Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Keys = NDArray[np.uint64]


@kernel()
def find(root: Int32 | Int64, i: int) -> int:
    """Find the representative of element i in a union-find, and shorten its path."""
    while root[i] != i:
        root[i] = root[root[i]]
        i = root[i]
    return i


@kernel()
def link(ends: Int32, n: int) -> tuple[Int32, Int32]:
    """Make `head` and `following`."""
    head = np.full(2 * n, -1, dtype=np.int32)
    following = np.empty(len(ends), dtype=np.int32)
    for half in range(len(ends)):
        node = ends[half]
        if head[node] < 0:
            head[node] = half
            following[half] = half
        else:
            following[half] = following[head[node]]
            following[head[node]] = half
    return head, following


@kernel()
def collect(
    head: Int32,
    following: Int32,
    ends: Int32,
    root: Int32,
    mark: Int64,
    made: int,
    base: int,
    found: Int64,
    joined: Int32,
    border: Float64,
    sharp: Float64,
    exponent: float,
) -> int:
    """Collect the neighbours of cluster `made`, unlink inner and repeated half-edges; count them.

    Each row of `found`, (n, 2), gets a neighbour and the edge to it. `mark` (2 n,) is working
    memory: `base`, which is above all that was ever marked, plus the row of a neighbour in `found`.
    """
    last = previous = head[made]
    half, kept, count = following[previous], np.int32(-1), 0
    while True:
        after = following[half]
        target = find(root, ends[half ^ 1])
        ends[half ^ 1] = target
        at = mark[target] - base
        if target == made:
            following[previous] = after
        elif at >= 0:
            following[previous] = after
            if len(border) > 0:
                i, j = find(joined, found[at, 1]), find(joined, half >> 1)
                if i != j:
                    joined[j] = i
                    border[i, 0] += border[j, 0]
                    border[i, 1] += border[j, 1]
                    sharp[i] = (border[i, 0] / border[i, 1]) ** exponent
        else:
            mark[target] = base + count
            previous = kept = half
            found[count, 0], found[count, 1] = target, half >> 1
            count += 1
        if half == last:
            break
        half = after
    head[made] = kept
    return count


@kernel()
def next_best(
    owner: int, head: Int32, following: Int32, ends: Int32, root: Int32, keys: Keys
) -> np.uint64:
    """Return the largest key of the pairs that belong to a cluster, 0 if there is none."""
    best = np.uint64(0)
    half = head[owner]
    while True:
        target = find(root, ends[half ^ 1])
        ends[half ^ 1] = target
        if target < owner:
            best = max(best, keys[half >> 1])
        half = following[half]
        if half == head[owner]:
            return best
