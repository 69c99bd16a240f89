"""The history of merges, and what is read from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unsam_cli.conquer._tree_kernels import first_places, owners, sums


@dataclass(frozen=True)
class MergeTree:
    """The history of merges of a graph's nodes.

    Ids below ``leaves`` are the graph's nodes, and ``leaves + t`` is the cluster made by merge
    ``t``. A graph of n nodes with k connected components has n - k merges.

    Attributes
    ----------
    leaves : int
        Number of nodes of the graph.
    children : (M, 2) int64
        The two clusters that each merge joins, lower id first.
    height : (M,) float64
        Running minimum of the similarities of the merges, which therefore never rises. The
        clusters at threshold theta are those after all merges with a height of at least theta.
    size : (leaves + M,) int64
        Number of graph nodes in each cluster.
    """

    leaves: int
    children: NDArray[np.int64]
    height: NDArray[np.float64]
    size: NDArray[np.int64]

    @property
    def nodes(self) -> int:
        """Number of clusters in the tree, single nodes included."""
        return self.leaves + len(self.children)

    def parents(self) -> NDArray[np.int64]:
        """Parent of every cluster, -1 for roots: (nodes,) int64."""
        parent = np.full(self.nodes, -1, dtype=np.int64)
        parent[self.children.ravel()] = self.leaves + np.repeat(np.arange(len(self.children)), 2)
        return parent

    def roots(self) -> NDArray[np.int64]:
        """Ids of the clusters without a parent, ascending: (K,) int64."""
        return self.clusters(-np.inf)

    def deaths(self) -> NDArray[np.float64]:
        """Height at which every cluster merges into its parent, -1 for roots: (nodes,) float64."""
        parent = self.parents()
        height: NDArray[np.float64] = np.full(self.nodes, -1.0)
        height[parent >= 0] = self.height[parent[parent >= 0] - self.leaves]
        return height

    def totals(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum of the values of the graph's nodes in every cluster: (nodes,) float64."""
        return sums(self.children, np.ascontiguousarray(values, dtype=np.float64))

    def prefix(self, threshold: float) -> int:
        """Count the merges done until no pair has a similarity >= `threshold`."""
        return int(np.searchsorted(-self.height, -threshold, side="right"))

    def clusters(self, threshold: float) -> NDArray[np.int64]:
        """Ids of the clusters that partition the graph at `threshold`, ascending: (K,) int64."""
        done = self.prefix(threshold)
        alive = np.ones(self.leaves + done, dtype=bool)
        alive[self.children[:done].ravel()] = False
        return np.flatnonzero(alive).astype(np.int64)

    def cut(self, threshold: float) -> NDArray[np.int64]:
        """Cluster id of each graph node at `threshold`: (leaves,) int64."""
        done = self.prefix(threshold)
        return owners(self.children[:done], self.leaves)

    def intervals(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Order the graph's nodes so that every cluster is contiguous.

        Returns
        -------
        position : (leaves,) int64
            Place of each graph node in that order.
        first : (nodes,) int64
            First place of each cluster, which takes the places ``first:first + size``.
        """
        first = first_places(self.children, self.size, self.parents())
        return first[: self.leaves].copy(), first
