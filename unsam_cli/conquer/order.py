"""The masks of an image in their order: those of regions themselves, then their parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unsam_cli.found_masks import FoundMasks
from unsam_cli.io.features import Region
from unsam_cli.rle import Rle, RunTable, from_runs

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


def own_mask(region: Region, size: tuple[int, int]) -> Rle:
    """Return the mask of a region itself, or its rectangle if it has no mask.

    `size` is the height and width of the image, in pixels.
    """
    if region.rle is not None:
        return region.rle
    x, y, w, h = region.bbox
    begin = np.arange(x, x + w, dtype=np.int64) * size[0] + y
    return from_runs(np.stack([begin, begin + h], axis=1), size)


def regions_first(own: int, score: FloatArray, area: IntArray) -> IntArray:
    """Order masks, of which the first `own` are those of regions.

    Parameters
    ----------
    own : int
        Number of masks of regions, which come first.
    score : (n,) float64
        The scores: higher ones come first.
    area : (n,) int64
        The areas in pixels: masks without a pixel are left out.

    Returns
    -------
    (m,) int64
        Numbers of masks.
    """
    order = np.lexsort((-score, np.arange(len(score)) >= own))
    return np.asarray(order[area[order] > 0], dtype=np.int64)


def as_found(
    table: RunTable, kept: Sequence[int], own: int, score: FloatArray, level: FloatArray
) -> FoundMasks:
    """Describe the masks of a table.

    Parameters
    ----------
    table : RunTable
        m masks.
    kept : sequence of int
        Their m numbers; those below `own` are masks of regions, which have no level.
    own : int
        See `regions_first`.
    score, level : (n,) float64
        Scores and levels by number.
    """
    return FoundMasks(
        table,
        score[kept],
        ["divide" if k < own else "conquer" for k in kept],
        [None if k < own else float(level[k]) for k in kept],
    )
