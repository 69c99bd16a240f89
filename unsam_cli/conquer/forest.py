"""The trees of an image's regions, and which of their clusters are worth pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from unsam_cli.conquer.levels import Candidates, cells, persistent_clusters
from unsam_cli.conquer.merge import MergeTree, grid_edges, merge_tree
from unsam_cli.conquer.pixels import cluster_runs, refine_labels
from unsam_cli.conquer.settings import ConquerSettings
from unsam_cli.io.features import Record
from unsam_cli.rle import decode_window

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Picture = NDArray[np.uint8]

RANK_EXPONENT = 0.15
"""How much larger masks go before smaller ones; chosen on the training images of BSDS500."""


@dataclass(frozen=True)
class Grown:
    """A merge tree of a region and the clusters picked from it.

    Attributes
    ----------
    record : Record
        The region.
    tree : MergeTree
        Merges of its patches.
    candidates : Candidates
        Clusters, (K,).
    score : (K,) float64
        See `rank`.
    """

    record: Record
    tree: MergeTree
    candidates: Candidates
    score: FloatArray


def grow(record: Record, settings: ConquerSettings) -> list[Grown]:
    """Merge the patches of a region, a tree for each exponent, and pick the clusters inside it."""
    h, w, channels = record.features.shape
    features = record.features.reshape(-1, channels).astype(np.float32, copy=False)
    edges, inside = grid_edges(h, w), None
    if record.rle is not None:
        inside = patch_shares(decode_window(record.rle, *record.bbox), (h, w)).ravel()
    grown = []
    for exponent in settings.size_exponents:
        tree = merge_tree(features, edges, size_exponent=exponent)
        found = persistent_clusters(tree, settings.thresholds, settings.min_patches)
        if inside is not None:
            covered = tree.totals(inside)[found.node]
            found = found.take(covered > settings.coverage * found.size)
        grown.append(Grown(record, tree, found, rank(found, exponent)))
    return grown


def thin(forest: Sequence[Grown], most: int) -> list[Grown]:
    """Keep about the `most` best clusters of all trees together."""
    scores = np.concatenate([grown.score for grown in forest])
    if len(scores) <= most:
        return list(forest)
    least = np.partition(scores, len(scores) - most)[len(scores) - most]
    chosen = [grown.score >= least for grown in forest]
    return [
        replace(grown, candidates=grown.candidates.take(stay), score=grown.score[stay])
        for grown, stay in zip(forest, chosen, strict=True)
    ]


@dataclass(frozen=True)
class Drawn:
    """Clusters as pixels: their scores (K,), and their runs as of `cluster_runs`."""

    candidates: Candidates
    score: FloatArray
    offsets: IntArray
    runs: IntArray


def draw(grown: Grown, preview: Picture | None, size: tuple[int, int]) -> Drawn:
    """Bring clusters to pixels.

    Parameters
    ----------
    grown : Grown
        A tree and its clusters.
    preview : (h, w, 3) uint8, optional
        The whole image at any size; without it borders are those of patches.
    size : (H, W)
        The image's size, pixels.

    Returns
    -------
    Drawn
        The clusters, in another order.
    """
    h, w, _ = grown.record.features.shape
    partition = cells(grown.tree, grown.candidates.node)
    label = partition.label.reshape(h, w)
    if preview is not None:
        label = refine_labels(label, crop(preview, grown.record.bbox, size))
    offsets, runs = cluster_runs(label, partition.up, grown.record.bbox, size)
    order = partition.order
    return Drawn(grown.candidates.take(order), grown.score[order], offsets, runs)


def rank(candidates: Candidates, exponent: float) -> FloatArray:
    """Score clusters by how unlike their surroundings they are, large ones higher.

    Parameters
    ----------
    candidates : Candidates
        Clusters of a merge tree.
    exponent : float
        The tree's `size_exponent`.

    Returns
    -------
    (K,) float64
        s / (1 + s), where s is the distance of normalised features at which the cluster is given
        up, times its size to the power `RANK_EXPONENT`: the same measure for all trees.
    """
    death = candidates.death
    if exponent > 0:  # undo 1 / (1 + distance * size ** exponent)
        distance = (1.0 / np.maximum(death, 1e-6) - 1.0) * candidates.size**-exponent
    else:
        distance = np.sqrt(2.0 - 2.0 * death)
    distance[death == -1.0] = 2.0  # never given up
    strength = np.minimum(distance, 2.0) * candidates.size**RANK_EXPONENT
    result: FloatArray = strength / (1.0 + strength)
    return result


def patch_shares(inside: NDArray[np.bool_], grid: tuple[int, int]) -> FloatArray:
    """Fraction of each patch that lies in a mask.

    Parameters
    ----------
    inside : (H, W) bool
        The mask within the rectangle that the grid covers.
    grid : (h, w)
        Rows and columns of patches.

    Returns
    -------
    (h, w) float64
        0 for patches that are smaller than a pixel and hold none.
    """
    rows = np.rint(np.linspace(0, inside.shape[0], grid[0] + 1)).astype(np.int64)
    columns = np.rint(np.linspace(0, inside.shape[1], grid[1] + 1)).astype(np.int64)
    down = np.zeros((inside.shape[0] + 1, inside.shape[1]), dtype=np.int32)
    inside.cumsum(axis=0, out=down[1:])
    across = np.zeros((grid[0], inside.shape[1] + 1), dtype=np.int64)
    np.diff(down[rows], axis=0).cumsum(axis=1, out=across[:, 1:])
    pixels = np.outer(np.diff(rows), np.diff(columns))
    shares: FloatArray = np.zeros(grid)
    np.divide(np.diff(across[:, columns], axis=1), pixels, out=shares, where=pixels > 0)
    return shares


def crop(preview: Picture, bbox: tuple[int, int, int, int], size: tuple[int, int]) -> Picture:
    """Cut out what a box of the original covers of the preview, at least one pixel."""
    x, y, w, h = bbox
    scale_y, scale_x = preview.shape[0] / size[0], preview.shape[1] / size[1]
    top = min(round(y * scale_y), preview.shape[0] - 1)
    left = min(round(x * scale_x), preview.shape[1] - 1)
    bottom = max(top + 1, round((y + h) * scale_y))
    right = max(left + 1, round((x + w) * scale_x))
    return preview[top:bottom, left:right]
