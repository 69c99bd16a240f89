"""MaskCut: cut an image's grid of features into objects, one normalised cut after another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unsam_cli.divide.affinity import Affinity, affinity
from unsam_cli.divide.ncut import first_largest, ncut
from unsam_cli.divide.regions import component

MAX_NODES = 3600
"""Patches of a cut: the 60 x 60 grid that the published masks were made on."""

_CORNERS = 3  # corners of the grid that only background touches
_SAME = 0.5  # IoU with the mask before, over which a mask is a repetition
_SMALL = 0.01  # fraction of the grid that a mask must exceed, the first one excepted

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Cut:
    """One object.

    Attributes
    ----------
    mask : (h, w) bool
        The object's patches; no patch belongs to two objects of an image.
    eigenvector : (h, w) float32
        The cut it comes from, of length 1 on the grid that was cut; the object's side is above the
        mean.
    score : float
        1 - Ncut / 2 of the mask against all the rest, in (0, 1]: 1 when nothing outside resembles
        it, about 1/2 for a random set of patches.
    """

    mask: BoolArray
    eigenvector: NDArray[np.float32]
    score: float


def maskcut(
    features: ArrayLike,
    *,
    max_masks: int = 3,
    tau: float = 0.15,
    seed: int = 0,
    max_nodes: int = MAX_NODES,
) -> list[Cut]:
    """Find up to `max_masks` objects.

    Parameters
    ----------
    features : (h, w, C) float32
        Patch features of any scale; zero vectors resemble nothing.
    max_masks : int
        Number of cuts, at least 1.
    tau : float
        Cosine over which two patches are joined: 0.15 suits DINO keys.
    seed : int
        Seed of the solver, see :func:`unsam_cli.divide.ncut.ncut`.
    max_nodes : int
        A larger grid is averaged down to about this many patches first, and its masks are brought
        back by nearest neighbour. Time and memory of a cut grow with its square.

    Returns
    -------
    list of Cut
        In the order found. Empty when the features have no structure: fewer than two patches, or
        all of them alike, or none.

    Raises
    ------
    ValueError
        The features are not (h, w, C), or not finite; an option is out of range.

    Notes
    -----
    Where the published description leaves a choice: the eigenvector's sign, which a solver may
    return either way, makes its entry of largest magnitude positive, so that only the corner rule
    can turn it. Entries within 1e-4 of the largest count as equal, and the first wins. A dropped
    mask is the empty mask that the next one is compared with, as in the reference.

    References
    ----------
    X. Wang, R. Girdhar, S. Yu, I. Misra, "Cut and Learn for Unsupervised Object Detection and
    Instance Segmentation", CVPR 2023: section 3.2.
    """
    grid = np.asarray(features)
    if grid.ndim != 3 or not grid.size:
        raise ValueError(f"features must be (h, w, C) and not empty, not shape {grid.shape}")
    if max_masks < 1:
        raise ValueError(f"max_masks must be at least 1, not {max_masks}")
    if max_nodes < 2:
        raise ValueError(f"max_nodes must be at least 2, not {max_nodes}")
    h, w, channels = grid.shape
    rows, columns = _coarse_shape(h, w, max_nodes)
    if rows * columns < 2:
        return []
    # Which coarse row or column each fine one falls into.
    in_row, in_column = np.arange(h) * rows // h, np.arange(w) * columns // w
    if (rows, columns) != (h, w):
        grid = _pool(grid, in_row, in_column)
    graph = affinity(grid.reshape(-1, channels), tau=tau)
    fine = np.ix_(in_row, in_column)
    return [
        Cut(cut.mask[fine], cut.eigenvector[fine], cut.score)
        for cut in _cut_graph(graph, (rows, columns), max_masks, seed)
    ]


def _cut_graph(graph: Affinity, shape: tuple[int, int], max_masks: int, seed: int) -> list[Cut]:
    """Cut a graph whose nodes are the patches of a grid."""
    cuts: list[Cut] = []
    taken = np.zeros(shape, np.bool_)
    previous = np.zeros(shape, np.bool_)
    rest = graph
    mask, v = None, np.zeros(shape)
    for index in range(max_masks):
        if mask is None:  # the last cut changed the graph
            solution = ncut(rest, seed=seed)
            if solution.value > 1 - 1e-9:  # no partition beats a random one
                break
            mask, v = foreground(solution.vector.reshape(shape))
        found = mask
        if index and (_iou(found, previous) > _SAME or found.sum() <= _SMALL * found.size):
            found = np.zeros(shape, np.bool_)
        previous = found
        new = found & ~taken
        if new.any():
            cuts.append(Cut(new, v.astype(np.float32), _score(graph, new.ravel())))
            taken |= new
            rest = graph.erased(taken.ravel())
            mask = None
    return cuts


def foreground(v: NDArray[np.float64]) -> tuple[BoolArray, NDArray[np.float64]]:
    """Choose the object of a cut.

    Parameters
    ----------
    v : (h, w) float64
        Eigenvector of the cut.

    Returns
    -------
    (h, w) bool, (h, w) float64
        The 4-connected component of the foreground around the seed, and the eigenvector with the
        sign that makes its foreground the high side.
    """
    inside = v > v.mean()
    seed = first_largest(np.abs(v).ravel())
    corners = sum(int(inside[y, x]) for y in (0, -1) for x in (0, -1))
    if corners >= _CORNERS or not inside.flat[seed]:
        v, inside = -v, ~inside
        seed = first_largest(v.ravel())
    return component(inside, seed), v


def _score(graph: Affinity, mask: BoolArray) -> float:
    """1 - Ncut / 2 of a set of nodes and its complement."""
    inside = mask.astype(np.float64)
    degree = graph.degree
    volume, total = float(degree @ inside), float(degree.sum())
    if mask.all():
        return 1.0
    cut = volume - float(inside @ graph.times(inside))
    return max(1 - (cut / volume + cut / (total - volume)) / 2, np.finfo(np.float32).tiny.item())


def _iou(a: BoolArray, b: BoolArray) -> float:
    """Intersection over union of two masks, 0 for two empty ones."""
    return float((a & b).sum() / max(int((a | b).sum()), 1))


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
