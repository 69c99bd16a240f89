"""MaskCut: find the objects in an image's grid of features, one normalised cut at a time."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unsam_cli.divide.affinity import Affinity
from unsam_cli.divide.ncut import cut_value, first_largest, ncut
from unsam_cli.divide.problem import CutProblem, pose
from unsam_cli.refinement.regions import component

MAX_NODES = 3600
"""Most patches of a cut: the 60 x 60 grid that the published masks were made on."""

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
        The object's patches. No patch belongs to two objects of an image.
    eigenvector : (h, w) float32
        Eigenvector of the cut, of length 1 on the grid that was cut. The object's side has the
        entries above the mean.
    score : float
        1 - Ncut / 2 of the mask against the rest of the image, in (0, 1]. It is 1 if no patch
        outside resembles the object, and about 1/2 for a random set of patches.
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
        Patch features of any scale. A zero vector resembles nothing.
    max_masks : int
        Number of cuts, at least 1.
    tau : float
        Cosine above which two patches are joined. 0.15 suits DINO keys.
    seed : int
        Seed of the solver, see :func:`unsam_cli.divide.ncut.ncut`.
    max_nodes : int
        Most patches of a cut. A larger grid is first averaged down to about this many patches, and
        its masks are enlarged by nearest neighbour. Time and memory grow with the square.

    Returns
    -------
    list of Cut
        The objects in the order found. The list is empty if the features have no structure: the
        grid has fewer than two patches, or all patches are alike, or no two resemble each other.

    Raises
    ------
    ValueError
        The features are not (h, w, C), or not finite; an option is out of range.

    Notes
    -----
    Choices that the published description leaves open: a solver may return either sign of the
    eigenvector; here its entry of largest magnitude is made positive, so that only the corner rule
    can change the sign. Entries within 1e-4 of the largest count as equal, and the first one is
    taken. A mask that is dropped counts as empty when the next mask is compared with it, as in the
    reference implementation.

    References
    ----------
    X. Wang, R. Girdhar, S. Yu, I. Misra, "Cut and Learn for Unsupervised Object Detection and
    Instance Segmentation", CVPR 2023: section 3.2.
    """
    problem = pose(features, tau, max_nodes)
    if problem is None:
        return []
    search = _search(problem, max_masks)
    taken = next(search)
    try:
        while True:
            solution = ncut(problem.rest(taken), seed=seed)
            taken = search.send((solution.vector, solution.value))
    except StopIteration as end:
        return _enlarged(end.value, problem)


def maskcut_batch(
    grids: Sequence[ArrayLike],
    *,
    device: str,
    max_masks: int = 3,
    tau: float = 0.15,
    seed: int = 0,
    max_nodes: int = MAX_NODES,
) -> list[list[Cut]]:
    """Find the objects of several images; the eigenvectors of all are computed together.

    Parameters
    ----------
    grids : sequence of (h, w, C) float32
        Patch features of each image. All grids have the same shape.
    device : str
        Device as torch names it, such as ``cuda``.
    max_masks, tau, seed, max_nodes
        See :func:`maskcut`.

    Returns
    -------
    list of list of Cut
        For each image the objects that `maskcut` finds, up to float32 rounding.

    Raises
    ------
    ValueError
        An input that `maskcut` refuses, or grids of different shapes.
    """
    from unsam_cli.divide.ncut_batch import ncut_batch

    if len({np.shape(grid) for grid in grids}) > 1:
        raise ValueError("the grids of a batch must have one shape")
    posed = [pose(grid, tau, max_nodes) for grid in grids]
    results: list[list[Cut]] = [[] for _ in grids]
    open_ = {
        i: (problem, _search(problem, max_masks)) for i, problem in enumerate(posed) if problem
    }
    taken = {i: next(search) for i, (_, search) in open_.items()}
    while open_:
        order = list(open_)
        features = np.stack([open_[i][0].rest_features(taken[i]) for i in order])
        vectors = ncut_batch(features, tau=tau, seed=seed, device=device).astype(np.float64)
        for i, vector in zip(order, vectors, strict=True):
            problem, search = open_[i]
            try:
                value = cut_value(problem.rest(taken[i]), vector)
                taken[i] = search.send((vector, value))
            except StopIteration as end:
                del open_[i]
                results[i] = _enlarged(end.value, problem)
    return results


def _enlarged(cuts: list[Cut], problem: CutProblem) -> list[Cut]:
    """Enlarge cuts to the grid that was given, by nearest neighbour."""
    fine = problem.fine
    return [Cut(cut.mask[fine], cut.eigenvector[fine], cut.score) for cut in cuts]


def _search(
    problem: CutProblem, max_masks: int
) -> Generator[BoolArray, tuple[NDArray[np.float64], float], list[Cut]]:
    """Apply the rules of MaskCut to one grid, as a generator.

    It yields the patches taken so far, (h, w) bool, receives the eigenvector and eigenvalue of the
    rest, and returns the objects. So the same rules serve one image and a batch of images.
    """
    if max_masks < 1:
        raise ValueError(f"max_masks must be at least 1, not {max_masks}")
    cuts: list[Cut] = []
    taken = np.zeros(problem.shape, np.bool_)
    previous = np.zeros(problem.shape, np.bool_)
    mask, v = None, np.zeros(problem.shape)
    for index in range(max_masks):
        if mask is None:  # the last cut changed the graph
            vector, value = yield taken
            if value > 1 - 1e-9:  # no partition beats a random one
                break
            mask, v = foreground(vector.reshape(problem.shape))
        found = mask
        if index and (_iou(found, previous) > _SAME or found.sum() <= _SMALL * found.size):
            found = np.zeros(problem.shape, np.bool_)
        previous = found
        new = found & ~taken
        if new.any():
            cuts.append(Cut(new, v.astype(np.float32), _score(problem.graph, new.ravel())))
            taken = taken | new
            mask = None
    return cuts


def foreground(v: NDArray[np.float64]) -> tuple[BoolArray, NDArray[np.float64]]:
    """Choose the side of a cut that is the object.

    Parameters
    ----------
    v : (h, w) float64
        Eigenvector of the cut.

    Returns
    -------
    (h, w) bool, (h, w) float64
        The 4-connected component of the foreground that contains the seed, and the eigenvector
        with the sign for which the foreground has the entries above the mean.
    """
    inside = v > v.mean()
    seed = first_largest(np.abs(v).ravel())
    corners = sum(int(inside[y, x]) for y in (0, -1) for x in (0, -1))
    if corners >= _CORNERS or not inside.flat[seed]:
        v, inside = -v, ~inside
        seed = first_largest(v.ravel())
    return component(inside, seed), v


def _score(graph: Affinity, mask: BoolArray) -> float:
    """1 - Ncut / 2 of the set of nodes in `mask`, (n,) bool, and its complement; in (0, 1]."""
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
