"""The merge trees of an image's regions, and the clusters that become masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from unsam_cli.conquer._tree_kernels import some_cells
from unsam_cli.conquer.borders import measure, no_contrast, sharpness_of_edges
from unsam_cli.conquer.guide import Guide
from unsam_cli.conquer.levels import Candidates, cells, persistent_clusters
from unsam_cli.conquer.merge import PatchGraph, grid_edges
from unsam_cli.conquer.pixels import cluster_runs, refine_labels, sample
from unsam_cli.conquer.ranking import merit, prominence, separation
from unsam_cli.conquer.settings import ConquerSettings
from unsam_cli.conquer.tree import MergeTree
from unsam_cli.conquer.units import unite
from unsam_cli.io.features import Record, Region
from unsam_cli.rle import decode_window
from unsam_cli.sampling import means

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SEVERED = 0.15
"""Largest sum of `leaks` over the patches of a cluster, relative to the root of its size. With
more, the object continues beyond the box, and the mask would end in an arbitrary straight line."""


@dataclass(frozen=True)
class Grown:
    """A merge tree of a region, and the clusters selected from it.

    Attributes
    ----------
    region : Region
        The region.
    grid : (h, w)
        Rows and columns of its patches.
    tree : MergeTree
        Merges of its patches.
    candidates : Candidates
        The K selected clusters.
    distance : (K,) float64
        Distance of each cluster from its surroundings, see
        :func:`~unsam_cli.conquer.ranking.separation`.
    """

    region: Region
    grid: tuple[int, int]
    tree: MergeTree
    candidates: Candidates
    distance: FloatArray

    @property
    def score(self) -> FloatArray:
        """What ranks the clusters before they are drawn, (K,) float64."""
        return prominence(self.candidates, self.distance)

    def take(self, chosen: NDArray[np.bool_]) -> Grown:
        """Return the same tree with some of its clusters."""
        return replace(
            self, candidates=self.candidates.take(chosen), distance=self.distance[chosen]
        )


def grow(
    record: Record, guide: Guide | None, size: tuple[int, int], settings: ConquerSettings
) -> list[Grown]:
    """Merge the patches of a region, one tree per rule, and select the clusters inside it.

    Parameters
    ----------
    record : Record
        The region.
    guide : Guide, optional
        The whole image. Without it all borders count as equally sharp.
    size : (H, W)
        Height and width of the image, in pixels.
    settings : ConquerSettings
        Rules, thresholds, least size and coverage.

    Returns
    -------
    list of Grown
        One tree per rule.
    """
    h, w, channels = record.features.shape
    sharpness, inside, leak = None, None, None
    if guide is not None:
        sharpness = sharpness_of_edges(guide.within(record.bbox, size).contrast, h, w)
    patches = PatchGraph.of(record.features.reshape(-1, channels), grid_edges(h, w), sharpness)
    units = unite(patches, settings.thresholds[0])
    if record.rle is not None:
        shares = patch_shares(decode_window(record.rle, *record.bbox), (h, w))
        inside, leak = shares.ravel(), leaks(shares, record.bbox, size).ravel()
    elif record.is_tile(*size):
        # What continues beyond a tile is whole in its neighbour, or in a larger tile.
        inside, leak = np.ones(h * w), leaks(np.zeros((h, w)), record.bbox, size).ravel()
    region = Region(record.bbox, record.rle, record.score)
    grown = []
    for rule in settings.rules:
        tree = units.tree(rule.size, rule.border)
        found = persistent_clusters(tree, settings.thresholds, settings.min_patches)
        if inside is not None and leak is not None:
            covered = tree.totals(inside)[found.node] > settings.coverage * found.size
            severed = tree.totals(leak)[found.node] > SEVERED * np.sqrt(found.size)
            found = found.take(covered & ~severed)
        grown.append(Grown(region, (h, w), tree, found, separation(found, rule)))
    return grown


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
    label: NDArray[np.int32]
    up: IntArray

    def take(self, chosen: NDArray[np.bool_]) -> Drawn:
        """Return some of the clusters, as if the others had never been there."""
        number, up = some_cells(self.up, chosen)
        return Drawn(
            self.region,
            self.candidates.take(chosen),
            self.score[chosen],
            number[self.label],
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
    region, (h, w) = trees[0].region, trees[0].grid
    partitions = [cells(grown.tree, grown.candidates.node) for grown in trees]
    labels = coarse = np.stack([partition.label.reshape(h, w) for partition in partitions])
    contrast = no_contrast(h, w)
    if guide is not None:
        part = guide.within(region.bbox, size)
        contrast = part.contrast
        labels = refine_labels(coarse, part.colours)
        coarse = np.stack([sample(label, *part.colours.shape[:2]) for label in labels])
    pixels = coarse[0].size * size[0] * size[1] / (region.bbox[2] * region.bbox[3])
    drawn = []
    for grown, partition, label, small in zip(trees, partitions, labels, coarse, strict=True):
        area, length, mean, cut, blank = measure(small, partition.end, partition.up, contrast)
        share: FloatArray = np.divide(area, pixels, dtype=np.float64)
        roughness: FloatArray = length / np.sqrt(np.maximum(area, 1), dtype=np.float64)
        distance = grown.distance[partition.order]
        score = merit(distance, share, roughness, mean, cut, blank)
        candidates = grown.candidates.take(partition.order)
        drawn.append(Drawn(region, candidates, score, label, partition.up))
    return drawn


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
        Fractions from 0 to 1.
    """
    return means(means(inside.astype(np.float32), grid[0]).T, grid[1]).T


def leaks(shares: FloatArray, bbox: tuple[int, int, int, int], size: tuple[int, int]) -> FloatArray:
    """Fraction of each patch outside of a region, at the sides of its box that cut the image.

    Parameters
    ----------
    shares : (h, w) float64
        Fraction of each patch in the region, see `patch_shares`; 0 for a tile.
    bbox : (x, y, w, h)
        Box of the region, in pixels.
    size : (H, W)
        Height and width of the image, in pixels.

    Returns
    -------
    (h, w) float64
        The fractions; 0 for patches that are not at a side of the box, or at one that is also a
        side of the image.
    """
    x, y, wide, tall = bbox
    on_side = np.zeros(shares.shape, dtype=np.bool_)
    on_side[0] |= y > 0
    on_side[-1] |= y + tall < size[0]
    on_side[:, 0] |= x > 0
    on_side[:, -1] |= x + wide < size[1]
    return np.where(on_side, 1.0 - shares, 0.0)
