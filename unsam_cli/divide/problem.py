"""What is cut: the graph of a grid of patches, averaged down where the grid is large."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unsam_cli.divide.affinity import Affinity, affinity

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Problem:
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


def pose(features: ArrayLike, tau: float, max_nodes: int) -> Problem | None:
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
    # Which coarse row or column each fine one falls into.
    in_row, in_column = np.arange(h) * rows // h, np.arange(w) * columns // w
    if (rows, columns) != (h, w):
        grid = _pool(grid, in_row, in_column)
    patches = grid.reshape(-1, channels)
    graph = affinity(patches, tau=tau)
    return Problem(patches, graph, (rows, columns), np.ix_(in_row, in_column))


def _coarse_shape(h: int, w: int, max_nodes: int) -> tuple[int, int]:
    """Rows and columns of a grid of at most `max_nodes` patches with the same aspect."""
    if h * w <= max_nodes:
        return h, w
    short = int(np.ceil(min(h, w) * np.sqrt(max_nodes / (h * w))))
    long = min(max(h, w), max_nodes // short)
    return (short, long) if h <= w else (long, short)


def _pool(
    grid: NDArray[Any], in_row: NDArray[np.int64], in_column: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Average the patches (h, w, C) that fall into one coarse patch."""
    rows, columns = np.bincount(in_row), np.bincount(in_column)
    top, left = np.cumsum(rows) - rows, np.cumsum(columns) - columns
    total = np.add.reduceat(np.add.reduceat(grid, top, 0, np.float32), left, 1)
    return (total / np.outer(rows, columns)[..., None]).astype(np.float32)
