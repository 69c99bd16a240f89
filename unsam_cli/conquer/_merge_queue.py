"""The queue of clusters: a heap of unsigned 64-bit keys of pairs, the largest first.

    bits 63..40   similarity, rounded to steps of 2**-22
    bits 39..20   complement of the lower cluster id
    bits 19..0    complement of the higher cluster id

so ties go to the lowest ids. No pair has the key 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unsam_cli.jit import kernel

ID_MASK = (1 << 20) - 1
STEPS = float(1 << 22)

Keys = NDArray[np.uint64]


@kernel()
def pack(similarity: float, i: int, j: int) -> np.uint64:
    """Return the key of clusters i and j, whose similarity is in [-1, 1]."""
    steps = np.uint64((similarity + 1.0) * STEPS + 0.5)
    low, high = min(i, j), max(i, j)
    key = (steps << np.uint64(40)) | (np.uint64(ID_MASK - low) << np.uint64(20))
    return key | np.uint64(ID_MASK - high)


@kernel()
def unpack(key: np.uint64) -> tuple[int, int]:
    """Return the two cluster ids of a key, the lower one first."""
    low = ID_MASK - np.int64((key >> np.uint64(20)) & np.uint64(ID_MASK))
    high = ID_MASK - np.int64(key & np.uint64(ID_MASK))
    return low, high  # type: ignore[return-value]  # integers of numpy, to Python


@kernel()
def push(heap: Keys, count: int, key: np.uint64) -> int:
    """Add a key, if it is not 0, to a heap of `count` keys; return the new number."""
    if key == 0:
        return count
    at = count
    while at > 0:
        above = (at - 1) >> 1
        if heap[above] >= key:
            break
        heap[at] = heap[above]
        at = above
    heap[at] = key
    return count + 1


@kernel()
def sift(heap: Keys, count: int, at: int, key: np.uint64) -> None:
    """Put a key at position `at` of a heap of `count` keys, and move it down to its place."""
    below = 2 * at + 1
    while below < count:
        if below + 1 < count and heap[below + 1] > heap[below]:
            below += 1
        if heap[below] <= key:
            break
        heap[at] = heap[below]
        at = below
        below = 2 * at + 1
    heap[at] = key
