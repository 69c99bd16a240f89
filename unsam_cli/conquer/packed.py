"""The clusters of a large image, compressed until they are compared.

The runs of thousands of clusters of 12 000 x 12 000 pixels would take gigabytes. Where a region was
seen at a reduced size, its columns of pixels repeat and are stored once. The largest piece of a
cluster is chosen before they are repeated, so of two pieces of nearly one size it may be the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unsam_cli.conquer.drawing import Drawn, draw
from unsam_cli.conquer.forest import Grown
from unsam_cli.conquer.guide import Guide
from unsam_cli.conquer.order import as_found, own_mask, regions_first
from unsam_cli.conquer.pixels import cluster_runs
from unsam_cli.conquer.settings import ConquerSettings
from unsam_cli.found_masks import FoundMasks
from unsam_cli.io.features import Region
from unsam_cli.rle import Rle, RunTable, repeated, suppress, to_runs
from unsam_cli.sampling import nearest

AT_ONCE = 500
"""Masks that are compared with those that are kept at a time."""


@dataclass(frozen=True)
class Packed:
    """Clusters of a tree.

    Attributes
    ----------
    rles : list of Rle
        The K masks.
    score, level : (K,) float64
        Their scores, and the thresholds at which they exist.
    area : (K,) int64
        The areas of `rles`, in pixels.
    columns : (w,) int64, optional
        If given, `rles` show repeated columns of the region once. This is the one for each column
        of the region's box.
    x : int
        Left side of the region's box, in pixels; where `columns` begin.
    """

    rles: list[Rle]
    score: NDArray[np.float64]
    level: NDArray[np.float64]
    area: NDArray[np.int64]
    columns: NDArray[np.int64] | None = None
    x: int = 0

    def runs(self, index: int) -> NDArray[np.int32]:
        """Return the runs of a mask in the image, (R, 2) int32."""
        rle = self.rles[index]
        if self.columns is not None:
            return repeated(rle, self.columns, self.x)
        return to_runs(rle).astype(np.int32)


def draw_packed(trees: Sequence[Grown], guide: Guide | None, size: tuple[int, int]) -> list[Packed]:
    """Draw the clusters of the trees of a region, see :func:`~unsam_cli.conquer.drawing.draw`."""
    return [_packed(part, size) for part in draw(trees, guide, size)]


def _packed(part: Drawn, size: tuple[int, int]) -> Packed:
    box, columns = part.region.bbox, None
    left, top, wide, tall = box
    narrow = part.label.shape[1]
    if narrow < wide:
        columns, box = nearest(wide, narrow), (0, top, narrow, tall)
        size = size[0], narrow
    table = RunTable.from_runs(*cluster_runs(part.label, part.up, box, size), size)
    level = part.candidates.level
    return Packed(table.to_rles(), part.score, level, table.areas, columns, left)


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
    rles = [own_mask(region, size) for region in regions]
    score = np.array([region.score for region in regions], dtype=np.float64)
    areas = RunTable.from_rles(rles, size=size).areas
    every = [Packed(rles, score, np.zeros(len(rles)), areas), *parts]
    score = np.concatenate([part.score for part in every])
    level = np.concatenate([part.level for part in every])
    area = np.concatenate([part.area for part in every])
    order = regions_first(len(rles), score, area)
    kept = _kept(every, order.tolist(), size, settings)
    return as_found(_table(every, kept, size), kept, len(rles), score, level)


def _kept(
    parts: Sequence[Packed], order: list[int], size: tuple[int, int], settings: ConquerSettings
) -> list[int]:
    """Suppress near-duplicates, a few masks at a time; return the others in their order."""
    kept: list[int] = []
    step = AT_ONCE if settings.nms_window == 0 else max(1, len(order))
    for begin in range(0, len(order), step):
        some = kept + order[begin : begin + step]
        stay = suppress(
            _table(parts, some, size),
            np.arange(len(some)),
            settings.nms_iou,
            window=settings.nms_window,
            most=settings.max_masks,
        )
        kept = [some[i] for i in np.flatnonzero(stay).tolist()]
        if settings.max_masks and len(kept) >= settings.max_masks:
            break
    return kept


def _table(parts: Sequence[Packed], chosen: Sequence[int], size: tuple[int, int]) -> RunTable:
    """Return the masks with some numbers, counted over all parts."""
    begin = np.cumsum([0, *(len(part.rles) for part in parts)])
    places = np.searchsorted(begin, chosen, side="right") - 1
    found = [parts[p].runs(k - int(begin[p])) for k, p in zip(chosen, places.tolist(), strict=True)]
    offsets = np.cumsum([0, *map(len, found)], dtype=np.int64)
    runs = np.empty((offsets[-1], 2), dtype=np.int32)
    for end in offsets[:0:-1].tolist():
        one = found.pop()  # so that not all are held twice
        runs[end - len(one) : end] = one
    return RunTable.from_runs(offsets, runs, size)
