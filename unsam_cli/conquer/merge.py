"""Agglomerative merging of patches by cosine similarity; the complete tree is computed once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unsam_cli.conquer._graph_kernels import all_finite, first_dots
from unsam_cli.conquer._merge_kernel import MAX_NODES, merge_kernel
from unsam_cli.conquer.tree import MergeTree
from unsam_cli.errors import DataError


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
        One row per node: the sum of the features of its patches.
    edges : (M, 2) int64
        Pairs of neighbouring nodes.
    sharpness : (M,) float64, optional
        Sum of the sharpness of the borders between the patches of each pair.
    lengths : (M,) float64
        Number of these borders.
    norms : (N,) float64
        Squared lengths of the rows.
    dots : (M,) float64
        Scalar product of the rows of each pair.
    past : MergeTree
        The merges of patches that have made the nodes; its roots, ascending, are the nodes.
    """

    features: NDArray[np.float32]
    edges: NDArray[np.int64]
    sharpness: NDArray[np.float64] | None
    lengths: NDArray[np.float64]
    norms: NDArray[np.float64]
    dots: NDArray[np.float64]
    past: MergeTree

    @classmethod
    def of(
        cls,
        features: NDArray[np.floating],
        edges: NDArray[np.integer],
        sharpness: NDArray[np.floating] | None = None,
    ) -> PatchGraph:
        """Build the graph of patches; arguments and errors are those of `merge_tree`."""
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
        sharp = None if sharpness is None else np.asarray(sharpness, dtype=np.float64)
        no_past = MergeTree(n, np.empty((0, 2), np.int64), np.empty(0), np.ones(n, np.int64))
        return cls(rows, pairs, sharp, np.ones(len(pairs)), *first_dots(rows, pairs), no_past)

    def merge(self, size_exponent: float, border_exponent: float, most: int) -> MergeTree:
        """Make at most `most` merges of nodes as `merge_tree` describes, without their past.

        The leaves of the tree are nodes, but its `size` counts patches.
        """
        border = np.ones((0, 2))
        if border_exponent and self.sharpness is not None:
            border = np.stack([self.sharpness, self.lengths], axis=1)
        weights = np.zeros(self.past.leaves + 1)
        if size_exponent or len(border):
            weights = np.arange(len(weights), dtype=np.float64) ** size_exponent
        merges = merge_kernel(
            self.features,
            self.edges,
            self.norms,
            self.dots,
            self.past.size[self.past.roots()],
            weights,
            border,
            float(border_exponent),
            most,
        )
        return MergeTree(len(self.features), *merges)

    def tree(self, size_exponent: float = 0.0, border_exponent: float = 0.0) -> MergeTree:
        """Merge all patches as :func:`merge_tree` describes; the graph is not changed."""
        past, n = self.past, len(self.features)
        tree = self.merge(size_exponent, border_exponent, n)
        ids = np.concatenate([past.roots(), past.nodes + np.arange(len(tree.children))])
        return MergeTree(
            past.leaves,
            np.concatenate([past.children, ids[tree.children]]),
            np.concatenate([past.height, tree.height]),
            np.concatenate([past.size, tree.size[n:]]),
        )


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
    graph = PatchGraph.of(features, edges, sharpness)
    return graph.tree(size_exponent, border_exponent)
