"""The graph that is cut: that of a grid of patches, downsampled if the grid is large."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unsam_cli.divide.affinity import Affinity, affinity
from unsam_cli.sampling import means, nearest

BoolArray = NDArray[np.bool_]

_COLOURS = 4  # channels of a picture at most; features have dozens
_LARGE = 100_000  # numbers of a small picture; grids of patches have hundreds of thousands at most


@dataclass(frozen=True)
class CutProblem:
    """A grid of patches that is small enough to be cut.

    `features` has shape (n, C), and `shape` is (rows, columns) of the grid. Indexing a mask of this
    grid with `fine` enlarges it to the grid that was given.
    """

    features: NDArray[Any]
    graph: Affinity
    shape: tuple[int, int]
    fine: tuple[NDArray[np.int64], ...]

    def rest(self, taken: BoolArray) -> Affinity:
        """Return the graph without the patches that were taken, (h, w) bool."""
        return self.graph.erased(taken.ravel()) if taken.any() else self.graph

    def rest_features(self, taken: BoolArray) -> NDArray[np.float32]:
        """Return the features, (n, C), with zeros for the patches that were taken, (h, w) bool."""
        return np.where(taken.reshape(-1, 1), 0, self.features).astype(np.float32)


def pose(features: ArrayLike, tau: float, max_nodes: int) -> CutProblem | None:
    """Check a grid (h, w, C), and downsample it to at most `max_nodes` patches if it is larger.

    Return None if there is nothing to cut: fewer than two patches. Raise a ValueError if the grid
    has another shape or is empty, or is a picture, or if `max_nodes` is less than 2.
    """
    grid = np.asarray(features)
    if grid.ndim != 3 or not grid.size:
        raise ValueError(f"features must be (h, w, C) and not empty, not shape {grid.shape}")
    if grid.dtype == np.uint8 or (grid.shape[2] <= _COLOURS and grid.size > _LARGE):
        raise ValueError(
            f"{grid.shape} {grid.dtype} is a picture, not a grid of features (h, w, C): compute "
            "its features first, unsam_cli.features(image), or let unsam_cli.segment(image) do all"
        )
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
    """Rows and columns of a grid of at most `max_nodes` patches with nearly the same aspect ratio.

    An odd side stays odd, so that its middle is still the middle of a patch.
    """
    if h * w <= max_nodes:
        return h, w
    short = _like(math.ceil(min(h, w) * math.sqrt(max_nodes / (h * w))), min(h, w))
    long = _like(min(max(h, w), max_nodes // short), max(h, w))
    return (short, long) if h <= w else (long, short)


def _like(count: int, length: int) -> int:
    return count - (length % 2 == 1 and count % 2 == 0)


def _pool(grid: NDArray[Any], rows: int, columns: int) -> NDArray[np.float32]:
    """Average the patches (h, w, C) in each coarse patch, weighted by the area that overlaps."""
    h, w, channels = grid.shape
    down = means(grid.reshape(h, -1), rows).astype(np.float32).reshape(rows, w, channels)
    across = means(down.transpose(1, 0, 2).reshape(w, -1), columns)
    return across.astype(np.float32).reshape(columns, rows, channels).transpose(1, 0, 2)
