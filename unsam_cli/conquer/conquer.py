"""Conquer an image: merge the patches of its regions into masks and rank them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unsam_cli.conquer.levels import Candidates, cells, persistent_clusters
from unsam_cli.conquer.merge import MergeTree, grid_edges, merge_tree
from unsam_cli.conquer.paper import paper_masks
from unsam_cli.conquer.pixels import ROUNDS, cluster_runs, refine_labels
from unsam_cli.conquer.settings import ConquerSettings
from unsam_cli.hierarchy import FoundMask
from unsam_cli.io.features import Record
from unsam_cli.rle import Rle, RunTable, decode_window, from_runs, suppress

Picture = NDArray[np.uint8]
RANK_EXPONENT = 0.15
"""How much larger masks go before smaller ones; chosen on the training images of BSDS500."""


def conquer_image(
    records: Sequence[Record],
    preview: Picture | None,
    size: tuple[int, int],
    settings: ConquerSettings | None = None,
) -> list[FoundMask]:
    """Find the parts of all regions of an image, at all scales.

    Parameters
    ----------
    records : sequence of Record
        The image's regions with their patch features.
    preview : (h, w, 3) uint8, optional
        The image at any size, whose edges the borders follow; without it they follow patches.
    size : (H, W)
        The image's size, pixels; masks have it.
    settings : ConquerSettings, optional
        The defaults are those of the command.

    Returns
    -------
    list of FoundMask
        Best score first among those of one stage; regions before parts.

    Raises
    ------
    DataError
        Features are not finite.
    """
    settings = settings or ConquerSettings()
    regions = [
        FoundMask(own_mask(record, size), float(record.score), "divide") for record in records
    ]
    parts = [part for record in records for part in _region_parts(record, preview, size, settings)]
    found = regions + sorted(parts, key=lambda part: -part.score)
    if not found:
        return []
    table = RunTable.from_rles([one.rle for one in found])
    order = np.arange(len(found))
    order = order[table.areas > 0]
    if settings.preset == "default":
        stay = suppress(table, order, settings.nms_iou, window=settings.nms_window)
        order = order[stay[order]]
        if settings.max_masks:
            order = order[: settings.max_masks]
    return [found[k] for k in order.tolist()]


def own_mask(record: Record, size: tuple[int, int]) -> Rle:
    """Mask of a region itself, its rectangle where it has none."""
    if record.rle is not None:
        return record.rle
    x, y, w, h = record.bbox
    begin = np.arange(x, x + w, dtype=np.int64) * size[0] + y
    return from_runs(np.stack([begin, begin + h], axis=1), size)


def _region_parts(
    record: Record, preview: Picture | None, size: tuple[int, int], settings: ConquerSettings
) -> list[FoundMask]:
    h, w, channels = record.features.shape
    features, edges = record.features.reshape(-1, channels), grid_edges(h, w)
    paper = settings.preset == "paper"
    parts = []
    for exponent in (0.0,) if paper else settings.size_exponents:
        tree = merge_tree(features, edges, size_exponent=exponent)
        if paper:
            candidates, masks = paper_masks(tree, record, size, settings)
        else:
            candidates, masks = _default_masks(tree, exponent, record, preview, size, settings)
        scores, levels = rank(candidates, exponent).tolist(), candidates.level.tolist()
        parts += [
            FoundMask(rle, score, "conquer", level)
            for rle, score, level in zip(masks, scores, levels, strict=True)
        ]
    return parts


def _default_masks(
    tree: MergeTree,
    exponent: float,
    record: Record,
    preview: Picture | None,
    size: tuple[int, int],
    settings: ConquerSettings,
) -> tuple[Candidates, list[Rle]]:
    h, w, _ = record.features.shape
    candidates = persistent_clusters(tree, settings.thresholds, settings.min_patches)
    if record.rle is not None:
        covered = _coverage(tree, decode_window(record.rle, *record.bbox), (h, w))
        candidates = candidates.take(covered[candidates.node] > settings.coverage)
    if settings.max_masks:  # more than can survive need no pixels
        best = np.argsort(-rank(candidates, exponent), kind="stable")[: 2 * settings.max_masks]
        candidates = candidates.take(np.sort(best))
    partition = cells(tree, candidates.node)
    label = partition.label.reshape(h, w)
    if preview is not None and settings.refine == "guided":
        label = refine_labels(label, _crop(preview, record.bbox, size), rounds=ROUNDS)
    offsets, runs = cluster_runs(label, partition.up, record.bbox, size)
    masks = [
        from_runs(runs[begin:end], size)
        for begin, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    ]
    return candidates.take(partition.order), masks


def rank(candidates: Candidates, exponent: float) -> NDArray[np.float64]:
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
    result: NDArray[np.float64] = strength / (1.0 + strength)
    return result


def _coverage(
    tree: MergeTree, inside: NDArray[np.bool_], grid: tuple[int, int]
) -> NDArray[np.float64]:
    """Fraction of each cluster that lies in the region's mask, by patches: (nodes,) float64."""
    rows = np.linspace(0, inside.shape[0], grid[0] + 1)
    columns = np.linspace(0, inside.shape[1], grid[1] + 1)
    corners = np.zeros((inside.shape[0] + 1, inside.shape[1] + 1))
    corners[1:, 1:] = inside.cumsum(0).cumsum(1)
    sums = corners[np.ix_(np.rint(rows).astype(int), np.rint(columns).astype(int))]
    part = np.diff(np.diff(sums, axis=0), axis=1)
    pixels = np.outer(np.diff(np.rint(rows)), np.diff(np.rint(columns)))
    share = np.divide(part, pixels, out=np.zeros(grid), where=pixels > 0)
    return tree.totals(share.ravel()) / tree.size


def _crop(preview: Picture, bbox: tuple[int, int, int, int], size: tuple[int, int]) -> Picture:
    """Cut out what a box of the original covers of the preview, at least one pixel."""
    x, y, w, h = bbox
    scale_y, scale_x = preview.shape[0] / size[0], preview.shape[1] / size[1]
    top = min(round(y * scale_y), preview.shape[0] - 1)
    left = min(round(x * scale_x), preview.shape[1] - 1)
    bottom = max(top + 1, round((y + h) * scale_y))
    right = max(left + 1, round((x + w) * scale_x))
    return preview[top:bottom, left:right]
