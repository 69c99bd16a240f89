"""Agglomerative merging of patches by cosine similarity; the complete tree is computed once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unsam_cli.conquer._graph_kernels import all_finite, first_dots
from unsam_cli.conquer._merge_kernel import MAX_NODES, merge_kernel
from unsam_cli.conquer._tree_kernels import first_places, owners, sums
from unsam_cli.errors import DataError


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


def grid_edges(height: int, width: int) -> NDArray[np.int64]:
    """Edges of the 4-connected grid whose nodes are numbered row by row.

    Parameters
    ----------
    height, width : int
        Rows and columns of the grid.

    Returns
    -------
    edges : (M, 2) int64
        Pairs of node ids, lower id first.
    """
    node = np.arange(height * width, dtype=np.int64).reshape(height, width)
    across = np.stack([node[:, :-1].ravel(), node[:, 1:].ravel()], axis=1)
    down = np.stack([node[:-1].ravel(), node[1:].ravel()], axis=1)
    return np.concatenate([across, down])


@dataclass(frozen=True)
class PatchGraph:
    """Nodes with features, checked, and what all trees over them begin with.

    Attributes
    ----------
    features : (N, C) float32
        One row per node.
    edges : (M, 2) int64
        Pairs of neighbouring nodes.
    norms : (N,) float64
        Squared lengths of the rows.
    dots : (M,) float64
        Scalar product of the rows of each pair.
    """

    features: NDArray[np.float32]
    edges: NDArray[np.int64]
    norms: NDArray[np.float64]
    dots: NDArray[np.float64]

    @classmethod
    def of(cls, features: NDArray[np.floating], edges: NDArray[np.integer]) -> PatchGraph:
        """Build a graph of (N, C) features and (M, 2) edges, whose errors are `merge_tree`'s."""
        rows = np.ascontiguousarray(features, dtype=np.float32)
        if rows.ndim != 2 or len(rows) == 0:
            shape = rows.shape
            raise DataError(f"features must be a non-empty (nodes, channels) array, not {shape}")
        n, _ = rows.shape
        pairs = np.ascontiguousarray(edges, dtype=np.int64).reshape(-1, 2)
        if n > MAX_NODES:
            raise DataError(f"{n} nodes to merge: at most {MAX_NODES}; use a coarser grid")
        if len(pairs) and (pairs.min() < 0 or pairs.max() >= n):
            raise DataError(f"an edge names a node outside 0..{n - 1}")
        if not all_finite(rows.view(np.int32).ravel()):
            raise DataError("features hold NaN or infinite values: extract them again")
        return cls(rows, pairs, *first_dots(rows, pairs))

    def tree(
        self,
        *,
        size_exponent: float = 0.0,
        sharpness: NDArray[np.floating] | None = None,
        border_exponent: float = 1.0,
    ) -> MergeTree:
        """Merge the nodes as :func:`merge_tree` describes; the graph is not changed."""
        border = np.ones((0 if sharpness is None else len(self.edges), 2))
        if sharpness is not None:
            border[:, 0] = sharpness
        weights = np.zeros(len(self.features) + 1)
        if size_exponent or sharpness is not None:
            weights = np.arange(len(weights), dtype=np.float64) ** size_exponent
        merges = merge_kernel(
            self.features,
            self.edges,
            self.norms,
            self.dots,
            weights,
            border,
            float(border_exponent),
        )
        return MergeTree(len(self.features), *merges)


def merge_tree(
    features: NDArray[np.floating],
    edges: NDArray[np.integer],
    *,
    size_exponent: float = 0.0,
    sharpness: NDArray[np.floating] | None = None,
    border_exponent: float = 1.0,
) -> MergeTree:
    """Merge the most similar neighbours of a graph until no edge is left.

    The feature of a cluster is the sum of its members' features. The similarity of two neighbours
    is the cosine of their features, 0 if one of them is zero. The most similar pair merges first.

    Parameters
    ----------
    features : (N, C) floating
        One row per graph node. Rows are not normalised: the length is the weight in sums.
    edges : (M, 2) int
        Pairs of neighbouring nodes in any order. Repeated pairs and loops are allowed.
    size_exponent : float
        If above 0, small clusters merge first: the similarity of a pair becomes
        ``1 / (1 + d * size ** size_exponent)``, where d is the distance of their normalised
        features and size the number of nodes of the smaller cluster.
    sharpness : (M,) floating, optional
        Sharpness of the border at each edge, 1 for a typical one. Clusters with a sharp border
        between them merge late: d is multiplied by the mean sharpness of all edges between the two
        clusters to the power of `border_exponent`, also if `size_exponent` is 0.
    border_exponent : float
        Exponent of the mean sharpness.

    Returns
    -------
    MergeTree
        Children, heights and sizes of all merges.

    Raises
    ------
    DataError
        Features are not finite, shapes do not fit, or there are more than 2**19 nodes.

    Notes
    -----
    Similarities are rounded to steps of 2**-22 before they are compared. So exact ties, as in flat
    parts of an image, remain ties whatever the order of summation. Among ties the pair with the
    lowest lower id is taken, then the one with the lowest higher id. A new cluster has a higher id
    than all before, so a flat area merges evenly and not as one growing cluster.

    The rule with sizes lies between that of the paper (exponent 0) and Ward's (exponent 0.5, where
    the cost of a merge grows with the smaller cluster). The form 1 / (1 + d) distinguishes weighted
    distances over several orders of magnitude, as small and large clusters have them.

    References
    ----------
    Wang et al., "Segment Anything without Supervision" (2024), section 3.2: iterative merging.
    Ward, "Hierarchical Grouping to Optimize an Objective Function" (1963).
    Arbelaez et al., "Contour Detection and Hierarchical Image Segmentation" (2011), section 4: the
    distance of two regions is the mean strength of their common border.
    """
    return PatchGraph.of(features, edges).tree(
        size_exponent=size_exponent, sharpness=sharpness, border_exponent=border_exponent
    )
