"""The clusters of a large image, compressed until they are compared.

The runs of thousands of clusters of 12 000 x 12 000 pixels would take gigabytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unsam_cli.conquer.forest import Grown, draw
from unsam_cli.conquer.guide import Guide
from unsam_cli.conquer.settings import ConquerSettings
from unsam_cli.found_masks import FoundMasks
from unsam_cli.io.features import Region
from unsam_cli.rle import Rle, RunTable, from_runs, suppress

AT_ONCE = 500
"""Masks that are compared with those that are kept at a time."""


@dataclass(frozen=True)
class Packed:
    """Clusters of a region.

    Attributes
    ----------
    rles : list of Rle
        The K masks.
    score, level : (K,) float64
        Their scores, and the thresholds at which they exist.
    area : (K,) int64
        Their areas, in pixels.
    """

    rles: list[Rle]
    score: NDArray[np.float64]
    level: NDArray[np.float64]
    area: NDArray[np.int64]


def own_mask(region: Region, size: tuple[int, int]) -> Rle:
    """Return the mask of a region itself, or its rectangle if it has no mask.

    `size` is the height and width of the image, in pixels.
    """
    if region.rle is not None:
        return region.rle
    x, y, w, h = region.bbox
    begin = np.arange(x, x + w, dtype=np.int64) * size[0] + y
    return from_runs(np.stack([begin, begin + h], axis=1), size)


def draw_packed(trees: Sequence[Grown], guide: Guide | None, size: tuple[int, int]) -> Packed:
    """Draw the clusters of the trees of a region, see :func:`~unsam_cli.conquer.forest.draw`."""
    rles: list[Rle] = []
    areas = [np.empty(0, dtype=np.int64)]
    drawn = draw(trees, guide, size)
    for part in drawn:
        table = RunTable.from_runs(part.offsets, part.runs, size)
        rles += table.to_rles()
        areas.append(table.areas)
    return Packed(
        rles,
        np.concatenate([part.score for part in drawn]),
        np.concatenate([part.candidates.level for part in drawn]),
        np.concatenate(areas),
    )


def packed_masks(
    regions: Sequence[Region],
    parts: Sequence[Packed],
    size: tuple[int, int],
    settings: ConquerSettings,
) -> FoundMasks:
    """Return the masks of regions, then their parts, the best first, without near-duplicates.

    Parameters
    ----------
    regions : sequence of Region
        Regions whose own masks are kept.
    parts : sequence of Packed
        The clusters of all regions and tiles.
    size : (H, W)
        Height and width of the image, in pixels.
    settings : ConquerSettings
        What counts as a near-duplicate, and how many masks are kept.
    """
    own = [own_mask(region, size) for region in regions]
    rles = [*own, *(rle for part in parts for rle in part.rles)]
    score = np.concatenate([[one.score for one in regions], *(part.score for part in parts)])
    level = np.concatenate([np.zeros(len(own)), *(part.level for part in parts)])
    areas = RunTable.from_rles(own, size=size).areas
    area = np.concatenate([areas, *(part.area for part in parts)])
    order = np.lexsort((-score, np.arange(len(score)) >= len(own)))
    kept = _kept(rles, order[area[order] > 0].tolist(), size, settings)
    return FoundMasks(
        RunTable.from_rles([rles[k] for k in kept], size=size),
        score[kept],
        ["divide" if k < len(own) else "conquer" for k in kept],
        [None if k < len(own) else float(level[k]) for k in kept],
    )


def _kept(
    rles: Sequence[Rle], order: list[int], size: tuple[int, int], settings: ConquerSettings
) -> list[int]:
    """Suppress near-duplicates, a few masks at a time; return the others in their order."""
    kept: list[int] = []
    step = AT_ONCE if settings.nms_window == 0 else max(1, len(order))
    for begin in range(0, len(order), step):
        some = kept + order[begin : begin + step]
        stay = suppress(
            RunTable.from_rles([rles[k] for k in some], size=size),
            np.arange(len(some)),
            settings.nms_iou,
            window=settings.nms_window,
            most=settings.max_masks,
        )
        kept = [some[i] for i in np.flatnonzero(stay).tolist()]
        if settings.max_masks and len(kept) >= settings.max_masks:
            break
    return kept
