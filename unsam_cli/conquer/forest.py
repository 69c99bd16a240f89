"""The merge trees of an image's regions, and the clusters that become masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from unsam_cli.conquer.borders import sharpness_of_edges
from unsam_cli.conquer.coarser import coarser
from unsam_cli.conquer.guide import Guide
from unsam_cli.conquer.levels import Candidates, persistent_clusters
from unsam_cli.conquer.merge import PatchGraph, grid_edges
from unsam_cli.conquer.ranking import prominence, separation
from unsam_cli.conquer.settings import ConquerSettings, Rule
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
    record: Record,
    rules: Sequence[Rule],
    guide: Guide | None,
    size: tuple[int, int],
    settings: ConquerSettings,
) -> list[Grown]:
    """Merge the patches of a region, one tree per rule, and select the clusters inside it.

    Parameters
    ----------
    record : Record
        The region.
    rules : sequence of Rule
        How the trees are made, those of one grid together.
    guide : Guide, optional
        The whole image. Without it all borders count as equally sharp.
    size : (H, W)
        Height and width of the image, in pixels.
    settings : ConquerSettings
        Thresholds, least size and coverage.

    Returns
    -------
    list of Grown
        One tree per rule.
    """
    region = Region(record.bbox, record.rle, record.score)
    contrast = None if guide is None else guide.within(record.bbox, size).contrast
    fine = np.ascontiguousarray(record.features, dtype=np.float32)
    grown = []
    for share, some in groupby(rules, key=lambda rule: rule.grid):
        features = fine if share == 1.0 else coarser(fine, share)
        h, w, channels = features.shape
        sharpness = None if contrast is None else sharpness_of_edges(contrast, h, w)
        patches = PatchGraph.of(features.reshape(-1, channels), grid_edges(h, w), sharpness)
        units = unite(patches, settings.thresholds[0])
        inside, leak = _bounds(record, (h, w), size)
        for rule in some:
            tree = units.tree(rule.size, rule.border)
            found = persistent_clusters(tree, settings.thresholds, settings.min_patches)
            if inside is not None and leak is not None:
                covered = tree.totals(inside)[found.node] > settings.coverage * found.size
                severed = tree.totals(leak)[found.node] > SEVERED * np.sqrt(found.size)
                found = found.take(covered & ~severed)
            grown.append(Grown(region, (h, w), tree, found, separation(found, rule)))
    return grown


def _bounds(
    record: Record, grid: tuple[int, int], size: tuple[int, int]
) -> tuple[FloatArray | None, FloatArray | None]:
    """Return `patch_shares` and `leaks` of a region or tile, (h w,) each; none if it is neither."""
    if record.rle is not None:
        shares = patch_shares(decode_window(record.rle, *record.bbox), grid)
        return shares.ravel(), leaks(shares, record.bbox, size).ravel()
    if record.is_tile(*size):
        # What continues beyond a tile is whole in its neighbour, or in a larger tile.
        return np.ones(math.prod(grid)), leaks(np.zeros(grid), record.bbox, size).ravel()
    return None, None


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
