"""Select the clusters of a merge tree that become masks, and find how they nest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unsam_cli.conquer._tree_kernels import number_cells
from unsam_cli.conquer.tree import MergeTree

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Candidates:
    """K clusters selected from a merge tree.

    Attributes
    ----------
    node : (K,) int64
        Cluster ids of the tree.
    level : (K,) float64
        Highest threshold at which the cluster exists, or has existed.
    death : (K,) float64
        Similarity at which the cluster merges into a larger one; -1 for one that never merges. It
        is at most the similarity at which the cluster was made.
    size : (K,) int64
        Number of patches.
    """

    node: IntArray
    level: FloatArray
    death: FloatArray
    size: IntArray

    def take(self, chosen: NDArray[np.bool_] | IntArray) -> Candidates:
        """Return some of the candidates, in the given order."""
        return Candidates(
            self.node[chosen], self.level[chosen], self.death[chosen], self.size[chosen]
        )


def level_clusters(
    tree: MergeTree, thresholds: Sequence[float], min_patches: int
) -> list[IntArray]:
    """Clusters that the loop of the paper emits after each threshold.

    Parameters
    ----------
    tree : MergeTree
        Merges of one region.
    thresholds : sequence of float
        Similarities, in falling order.
    min_patches : int
        Least number of patches of a cluster.

    Returns
    -------
    list of (K,) int64
        Cluster ids at each threshold: clusters that are large enough and still have a neighbour,
        so never the root. A cluster that exists at several thresholds is in several lists.
    """
    linked = tree.parents() >= 0
    found = (tree.clusters(theta) for theta in thresholds)
    return [ids[linked[ids] & (tree.size[ids] >= min_patches)] for ids in found]


def persistent_clusters(
    tree: MergeTree, thresholds: Sequence[float], min_patches: int
) -> Candidates:
    """All clusters that exist at some similarity between the highest and the lowest threshold.

    Parameters
    ----------
    tree : MergeTree
        Merges of one region.
    thresholds : sequence of float
        Similarities, in falling order.
    min_patches : int
        Least number of patches of a cluster.

    Returns
    -------
    Candidates
        Each cluster once, by ascending id, including roots.
    """
    steps = np.asarray(thresholds, dtype=np.float64)
    birth = np.concatenate([np.full(tree.leaves, np.inf), tree.height])
    death = tree.deaths()
    chosen = (tree.size >= min_patches) & (birth >= steps[-1]) & (death < steps[0])
    node = np.flatnonzero(chosen)
    # The first threshold (they fall) that is not above the cluster's birth.
    at = np.searchsorted(-steps, -birth[node], side="left")
    return Candidates(node, steps[at], death[node], tree.size[node])


@dataclass(frozen=True)
class Partition:
    """Partition into cells by nested clusters, numbered so that each cluster is a range of cells.

    Cell 0 lies outside of all clusters. Cell k > 0 is the part of cluster k that no cluster within
    it covers. Clusters are numbered in pre-order, and cluster k is the union of the cells from k up
    to ``end[k] - 1``.

    Attributes
    ----------
    label : (leaves,) int32
        Cell of each graph node.
    order : (K,) int64
        Cluster k is candidate ``order[k - 1]``.
    end : (K + 1,) int64
        End (exclusive) of the cells of each cluster; ``end[0]`` is K + 1.
    up : (K + 1,) int64
        The smallest cluster around each cluster, 0 for outermost ones; ``up[0]`` is -1.
    """

    label: NDArray[np.int32]
    order: IntArray
    end: IntArray
    up: IntArray


def cells(tree: MergeTree, node: IntArray) -> Partition:
    """Partition a tree's leaves into the cells of some clusters.

    Parameters
    ----------
    tree : MergeTree
        The tree.
    node : (K,) int64
        Distinct cluster ids.

    Returns
    -------
    Partition
        The cells, and how the clusters nest.
    """
    position, first = tree.intervals()
    begin, stop = first[node], first[node] + tree.size[node]
    order = np.lexsort((-stop, begin))
    label, end, up = number_cells(begin[order], stop[order], position)
    return Partition(label, order, end, up)
