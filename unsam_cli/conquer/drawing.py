"""The clusters of merge trees on pixels, and their scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from unsam_cli.conquer._tree_kernels import some_cells
from unsam_cli.conquer.borders import measure, no_contrast
from unsam_cli.conquer.forest import Grown
from unsam_cli.conquer.guide import Guide, Part
from unsam_cli.conquer.levels import Candidates, Partition, cells
from unsam_cli.conquer.pixels import cluster_runs, refine_labels, resize_labels, sample
from unsam_cli.conquer.ranking import growths, merit
from unsam_cli.conquer.recurrence import recurrence
from unsam_cli.io.features import Region

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Labels = NDArray[np.int32]


@dataclass(frozen=True)
class Drawn:
    """The K clusters of a tree on the pixels of a picture.

    Attributes
    ----------
    region : Region
        The region.
    candidates : Candidates
        The clusters, in the order of :class:`~unsam_cli.conquer.levels.Partition`.
    score : (K,) float64
        Their scores.
    label : (h, w) int32
        Cell of each pixel of the region's box, at any size.
    up : (K + 1,) int64
        The cluster around each cluster, as in the same class.
    """

    region: Region
    candidates: Candidates
    score: FloatArray
    label: Labels
    up: IntArray

    def take(self, chosen: NDArray[np.bool_]) -> Drawn:
        """Return some of the clusters, as if the others had never been there."""
        number, up = some_cells(self.up, chosen)
        return Drawn(
            self.region,
            self.candidates.take(chosen),
            self.score[chosen],
            number.take(self.label),
            up,
        )

    def runs(self, size: tuple[int, int]) -> tuple[IntArray, IntArray]:
        """List the clusters' runs in an image of `size` (H, W), see `cluster_runs`."""
        return cluster_runs(self.label, self.up, self.region.bbox, size)


Clusters = TypeVar("Clusters", Grown, Drawn)


def best(parts: Sequence[Clusters], most: int) -> list[Clusters]:
    """Keep about the `most` clusters of all parts with the highest scores; 0 keeps all."""
    scores = [part.score for part in parts]
    total = sum(map(len, scores))
    if not 0 < most < total:
        return list(parts)
    least = np.partition(np.concatenate(scores), total - most)[total - most]
    return [part.take(score >= least) for part, score in zip(parts, scores, strict=True)]


def draw(trees: Sequence[Grown], guide: Guide | None, size: tuple[int, int]) -> list[Drawn]:
    """Find the pixels of the clusters of the trees of one region, and score them.

    Parameters
    ----------
    trees : sequence of Grown
        Trees of the same region, and their clusters; at least one.
    guide : Guide, optional
        The whole image. Without it borders are those of patches.
    size : (H, W)
        Height and width of the image, in pixels.

    Returns
    -------
    list of Drawn
        The clusters of each tree, in another order.
    """
    region = trees[0].region
    part = None if guide is None else guide.within(region.bbox, size)
    partitions = [cells(grown.tree, grown.candidates.node) for grown in trees]
    labels = _labels(trees, partitions, part)
    lattice = max(grown.grid for grown in trees)
    points = np.stack([resize_labels(label, *lattice) for label in labels])
    return [
        _drawn(*tree, part, size)
        for tree in zip(trees, partitions, labels, recurrence(points, partitions), strict=True)
    ]


def _labels(
    trees: Sequence[Grown], partitions: Sequence[Partition], part: Part | None
) -> list[Labels]:
    """Label the pixels of a picture, or the patches if there is none, with cells of each tree."""
    labels = [
        partition.label.reshape(grown.grid)
        for grown, partition in zip(trees, partitions, strict=True)
    ]
    if part is None:
        return labels
    alike = groupby(labels, key=lambda label: label.shape)
    return [fine for _, some in alike for fine in refine_labels(np.stack(list(some)), part.colours)]


def _drawn(
    grown: Grown,
    partition: Partition,
    label: Labels,
    recurs: FloatArray,
    part: Part | None,
    size: tuple[int, int],
) -> Drawn:
    """Score the clusters of one tree, whose recurrence in the others is given."""
    region, candidates = grown.region, grown.candidates.take(partition.order)
    contrast = no_contrast(*grown.grid) if part is None else part.contrast
    small = label if part is None else sample(label, *part.colours.shape[:2])
    area, length, mean, cut, blank = measure(small, partition.end, partition.up, contrast)
    pixels = small.size * size[0] * size[1] / (region.bbox[2] * region.bbox[3])
    share: FloatArray = np.divide(area, pixels, dtype=np.float64)
    roughness: FloatArray = length / np.sqrt(np.maximum(area, 1), dtype=np.float64)
    distance = grown.distance[partition.order]
    growth = growths(grown.tree, candidates.node)
    score = merit(distance, share, roughness, mean, cut, blank, recurs, growth)
    return Drawn(region, candidates, score, label, partition.up)
