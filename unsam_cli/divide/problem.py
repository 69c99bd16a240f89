"""The cut problem: the graph of a grid of patches, downsampled if the grid is large."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unsam_cli.divide.affinity import Affinity, affinity
from unsam_cli.sampling import means, nearest

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class CutProblem:
    """A grid of at most as many patches as may be cut at once.

    `features` are (n, C), `shape` is that of the grid, `fine` the indices that bring a mask of it
    back to the grid that was given.
    """

    features: NDArray[Any]
    graph: Affinity
    shape: tuple[int, int]
    fine: tuple[NDArray[np.int64], ...]

    def rest(self, taken: BoolArray) -> Affinity:
        """Graph without the patches that were taken."""
        return self.graph.erased(taken.ravel()) if taken.any() else self.graph

    def rest_features(self, taken: BoolArray) -> NDArray[np.float32]:
        """Features with zeros for the patches that were taken."""
        return np.where(taken.reshape(-1, 1), 0, self.features).astype(np.float32)


def pose(features: ArrayLike, tau: float, max_nodes: int) -> CutProblem | None:
    """Check and, if it is large, average a grid; None if there is nothing to cut."""
    grid = np.asarray(features)
    if grid.ndim != 3 or not grid.size:
        raise ValueError(f"features must be (h, w, C) and not empty, not shape {grid.shape}")
    if max_nodes < 2:
        raise ValueError(f"max_nodes must be at least 2, not {max_nodes}")
    h, w, channels = grid.shape
    rows, columns = _coarse_shape(h, w, max_nodes)
    if rows * columns < 2:
        return None
    fine = np.ix_(nearest(h, rows), nearest(w, columns))
    if (rows, columns) != (h, w):
        grid = _pool(grid, rows, columns)
    patches = grid.reshape(-1, channels)
    graph = affinity(patches, tau=tau)
    return CutProblem(patches, graph, (rows, columns), fine)


def _coarse_shape(h: int, w: int, max_nodes: int) -> tuple[int, int]:
    """Rows and columns of a grid of at most `max_nodes` patches with nearly the same aspect.

    Where a side is odd it stays odd: its middle is that of a patch, not a border of two.
    """
    if h * w <= max_nodes:
        return h, w
    short = _like(math.ceil(min(h, w) * math.sqrt(max_nodes / (h * w))), min(h, w))
    long = _like(min(max(h, w), max_nodes // short), max(h, w))
    return (short, long) if h <= w else (long, short)


def _like(count: int, length: int) -> int:
    return count - (length % 2 == 1 and count % 2 == 0)


def _pool(grid: NDArray[Any], rows: int, columns: int) -> NDArray[np.float32]:
    """Average the patches (h, w, C) that fall into one coarse patch, by the shares that do."""
    h, w, channels = grid.shape
    down = means(grid.reshape(h, -1), rows).astype(np.float32).reshape(rows, w, channels)
    across = means(down.transpose(1, 0, 2).reshape(w, -1), columns)
    return across.astype(np.float32).reshape(columns, rows, channels).transpose(1, 0, 2)
