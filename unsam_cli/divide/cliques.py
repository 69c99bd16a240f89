"""Small cliques of a graph that are not joined with any other node, grouped by size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unsam_cli.divide.affinity import Affinity
from unsam_cli.jit import kernel

_LARGEST = 6


def small_cliques(graph: Affinity) -> list[NDArray[np.int64]]:
    """Find groups of at least two isolated cliques of the same size.

    Exchanging two cliques of a group does not change the graph.

    Parameters
    ----------
    graph : Affinity
        A graph with n nodes.

    Returns
    -------
    list of (k, size) int64
        One array per size that occurs, from 1 to 6: the nodes of k cliques, one clique per row.
    """
    small = (graph.joined > 0) & (graph.joined <= _LARGEST)
    if not small.any():
        return []
    nodes = np.flatnonzero(small)
    neighbours = _neighbours(graph.bits, graph.joined, small, _LARGEST)[nodes]
    groups = []
    for size in range(1, _LARGEST + 1):
        sets = neighbours[graph.joined[nodes] == size, :size]
        # A clique is a set of `size` nodes, each of which has exactly this set as its neighbours.
        cliques, count = np.unique(sets, axis=0, return_counts=True)
        cliques = cliques[count == size]
        if len(cliques) > 1:
            groups.append(cliques)
    return groups


@kernel()
def _neighbours(
    bits: NDArray[Any], joined: NDArray[Any], small: NDArray[Any], largest: int
) -> NDArray[Any]:
    """List the neighbours of the small nodes in ascending order, (n, largest) int64."""
    groups, n = bits.shape
    found = np.zeros(n, np.int64)
    result = np.zeros((n, largest), np.int64)
    for g in range(groups):
        for j in range(n):
            byte = bits[g, j]
            if byte != 0 and small[j]:
                for k in range(8):
                    if byte >> k & 1:
                        result[j, found[j]] = 8 * g + k
                        found[j] += 1
    return result
