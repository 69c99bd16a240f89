"""Units: small clusters of patches that all trees of a region begin with.

The first merges of the trees join patches that are nearly alike, in any order with much the same
result. They are three quarters of all merges and are made once, not once per tree.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unsam_cli.conquer._graph_kernels import first_dots, row_sums
from unsam_cli.conquer._tree_kernels import owners
from unsam_cli.conquer.merge import PatchGraph
from unsam_cli.conquer.tree import MergeTree

FloatArray = NDArray[np.float64]

SHARE = 0.25
"""Number of units, as a share of that of patches."""
SIZE_EXPONENT = 0.15
"""The exponent of the rule that makes the units."""


def unite(graph: PatchGraph, least: float) -> PatchGraph:
    """Merge the patches of a graph to units.

    Parameters
    ----------
    graph : PatchGraph
        The patches of a region; it is not changed.
    least : float
        Smallest similarity of two clusters that merge. Clusters that can become masks merge below
        the highest threshold; with this, none of them is lost in a unit.

    Returns
    -------
    PatchGraph
        The units, as nodes. In trees over it, merges within units have a height of 1.
    """
    n = len(graph.features)
    first = graph.merge(SIZE_EXPONENT, 0.0, n - int(n * SHARE))
    done = first.prefix(least)
    past = MergeTree(n, first.children[:done], np.ones(done), first.size[: n + done])
    roots = past.roots()
    number = np.empty(past.nodes, dtype=np.int64)
    number[roots] = np.arange(len(roots))
    owner = number[owners(past.children, n)]
    rows = row_sums(graph.features, owner, len(roots))
    pairs = np.sort(owner[graph.edges], axis=1)
    between = pairs[:, 0] != pairs[:, 1]
    code, place = np.unique(pairs[between] @ [len(roots), 1], return_inverse=True)
    pairs = np.stack(np.divmod(code, len(roots)), axis=1)

    def added(values: FloatArray) -> FloatArray:
        return np.bincount(place, values[between], len(pairs)).astype(np.float64)

    sharpness = None if graph.sharpness is None else added(graph.sharpness)
    lengths = added(graph.lengths)
    return PatchGraph(rows, pairs, sharpness, lengths, *first_dots(rows, pairs), past)
