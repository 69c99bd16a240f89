"""Choose the rectangles of an image that become records, and their network input size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from unsam_cli.errors import MaskFileError
from unsam_cli.extraction.settings import AUTO, PlanSettings
from unsam_cli.io.features import Region
from unsam_cli.rle import Rle, RunTable
from unsam_cli.sampling import tile_starts

SLACK = 1.15
"""Largest length of an axis that one tile covers, relative to the size of tiles."""

Regions = Sequence[tuple[Rle, float]]
"""The masks of one image with their scores."""


@dataclass(frozen=True, slots=True)
class RecordPlan(Region):
    """A region that becomes a record.

    Attributes
    ----------
    size : tuple of int
        Height and width of the rectangle as input of the network, in pixels: multiples of the
        patch size.
    """

    size: tuple[int, int]


def plan_records(
    height: int,
    width: int,
    *,
    patch_size: int,
    settings: PlanSettings,
    regions: Regions | None = None,
) -> list[RecordPlan]:
    """Plan the records of one image.

    Parameters
    ----------
    height, width : int
        Height and width of the image, in pixels.
    patch_size : int
        Side of a patch of the backbone, in pixels.
    settings : PlanSettings
        Sizes of records, and whether the whole image is one of them.
    regions : sequence of (Rle, float), optional
        Masks and scores. Without them the only record is the whole image.

    Returns
    -------
    list of RecordPlan
        The whole image, if it is a record, then its tiles, large ones first, then the regions in
        their order. Empty masks have no rectangle and are left out.

    Raises
    ------
    MaskFileError
        A mask is damaged or has another size than the image.
    """
    plans = []
    if regions is None or settings.whole_image:
        target = fit_size(
            height, width, size=settings.size, patch_size=patch_size, square=settings.square
        )
        plans.append(RecordPlan((0, 0, width, height), None, 1.0, target))
    for x, y, w, h in tiles(height, width, settings):
        target = fit_size(h, w, size=settings.size, patch_size=patch_size)
        plans.append(RecordPlan((x, y, w, h), None, 1.0, target))
    if not regions:
        return plans
    try:
        table = RunTable.from_rles([rle for rle, _ in regions], size=(height, width))
    except ValueError as error:
        raise MaskFileError(f"{error}: the masks must have the size of these images") from error
    side = nearest_multiple(settings.region_size, patch_size)
    for index, (rle, score) in enumerate(regions):
        x, y, w, h = (int(v) for v in table.boxes[index])
        if table.areas[index] > 0:
            plans.append(RecordPlan((x, y, w, h), rle, float(score), (side, side)))
    return plans


def tiles(height: int, width: int, settings: PlanSettings) -> Iterator[tuple[int, int, int, int]]:
    """Yield the tiles of an image, row by row, the largest first.

    Parameters
    ----------
    height, width : int
        Height and width of the image, in pixels.
    settings : PlanSettings
        `tile`, `overlap`, and the `size` that ``auto`` depends on. There are no tiles if it has no
        `tile`, or if one would cover the image.

    Yields
    ------
    x, y, w, h : int
        In pixels. Tiles of one size overlap by at least ``overlap`` of it. Along an axis that is
        little longer than a tile there is one tile, of that length.
    """
    longest = max(height, width)
    if settings.tile is None:
        sides = []
    elif settings.tile == AUTO:
        # Steps of one ratio, at most 2, so that the last tiles have exactly the size.
        steps = max(0, math.ceil(math.log2(longest / settings.size)))
        sides = [
            round(longest * (settings.size / longest) ** (k / steps)) for k in range(1, steps + 1)
        ]
    else:
        sides = [int(settings.tile)]
    for side in sides:
        columns, rows = (_spans(length, side, settings.shared) for length in (width, height))
        if len(rows) * len(columns) > 1:
            yield from ((x, y, w, h) for y, h in rows for x, w in columns)


def _spans(length: int, side: int, overlap: float) -> list[tuple[int, int]]:
    """Return first place and length of the tiles along one axis, in pixels."""
    if length <= SLACK * side:
        return [(0, length)]
    shared = min(math.ceil(side * overlap), side - 1)
    return [(start, side) for start in tile_starts(length, side, shared)]


def fit_size(
    height: int, width: int, *, size: int, patch_size: int, square: bool = False
) -> tuple[int, int]:
    """Return the height and width of a whole image as input of the network, in pixels.

    Parameters
    ----------
    height, width : int
        Height and width of the image, in pixels.
    size : int
        Longest side after resizing, in pixels. Smaller images are enlarged.
    patch_size : int
        Side of a patch, in pixels. Both sides are rounded to its nearest multiple, at least one.
    square : bool
        Resize both sides to `size`.
    """
    scale = size / max(height, width)
    sides = (size, size) if square else (height * scale, width * scale)
    return nearest_multiple(sides[0], patch_size), nearest_multiple(sides[1], patch_size)


def nearest_multiple(length: float, patch_size: int) -> int:
    """Round to the nearest multiple of `patch_size`, half up, but at least one patch."""
    return max(1, int(length / patch_size + 0.5)) * patch_size
