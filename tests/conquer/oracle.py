"""The paper's merging loop, written for the eye: every step looks at all pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

STEPS = 1 << 22
Cluster = frozenset[int]
Weight = Callable[[Cluster, Cluster], float]


def similarity(a: NDArray[Any], b: NDArray[Any], weight: float = 0.0) -> float:
    """Cosine in float64, 0 for a zero vector, rounded to steps of 2**-22."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    norms = np.dot(a, a) * np.dot(b, b)
    cosine = min(1.0, max(-1.0, np.dot(a, b) / np.sqrt(norms) if norms > 0 else 0.0))
    alike = 1.0 / (1.0 + np.sqrt(2.0 - 2.0 * cosine) * weight) if weight else cosine
    return int((alike + 1.0) * STEPS + 0.5) / STEPS - 1.0


def merge_levels(
    features: NDArray[Any],
    edges: NDArray[Any],
    thresholds: Sequence[float],
    weight: Weight = lambda one, other: 0.0,
) -> tuple[list[dict[int, Cluster]], list[set[int]]]:
    """Clusters after each threshold: a list of ``{cluster id: frozenset of nodes}``.

    New clusters get the next free id; ties go to the pair with the lowest ids. Also returns, per
    threshold, the ids of the clusters that still have a neighbour. `weight` of two sets of nodes is
    what the distance of their features is multiplied by; 0 asks for their cosine.
    """
    feature = {i: row.astype(np.float32) for i, row in enumerate(features)}
    members = {i: frozenset([i]) for i in feature}

    def alike(i: int, j: int) -> float:
        return similarity(feature[i], feature[j], weight(members[i], members[j]))

    pairs = {(min(i, j), max(i, j)): alike(i, j) for i, j in edges.tolist() if i != j}
    levels: list[dict[int, Cluster]] = []
    linked: list[set[int]] = []
    fresh = len(features)
    for theta in thresholds:
        while pairs:
            i, j = max(pairs, key=lambda pair: (pairs[pair], -pair[0], -pair[1]))
            if pairs[i, j] < theta:
                break
            neighbours = {k for pair in pairs if i in pair or j in pair for k in pair} - {i, j}
            pairs = {pair: s for pair, s in pairs.items() if i not in pair and j not in pair}
            feature[fresh] = feature.pop(i) + feature.pop(j)
            members[fresh] = members.pop(i) | members.pop(j)
            for k in neighbours:
                pairs[k, fresh] = alike(fresh, k)
            fresh += 1
        levels.append(dict(members))
        linked.append({k for pair in pairs for k in pair})
    return levels, linked
