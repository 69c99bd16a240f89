"""Move the borders of masks by a few pixels, to edges of the photograph: a guided filter."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from unsam_cli.io.windows import Pixels, Windows
from unsam_cli.refinement.guided import GuidedFilter
from unsam_cli.refinement.masks import MapFunctor
from unsam_cli.rle import Rle, RunTable, decode_window, encode_window

WIDEST = 1 / 40
"""Largest half side of the filter's box, as a fraction of the longer side of the picture."""
SHARE = 1 / 4
"""Half side of the box as a fraction of the width of a mask, which a larger box would wipe out."""
LARGE_TILE = 2048
"""Side of the tiles of a large picture, in pixels; half of it if boxes are large."""
EPS = 1e-4
"""Variance of colour that counts as flat: 1 % of the range of a channel."""


def refine_guided(picture: Pixels, masks: RunTable, *, mapper: MapFunctor = map) -> list[Rle]:
    """Refine masks of a picture by its guided filter.

    Parameters
    ----------
    picture : (H, W, 3) uint8 or Windows
        The photograph, RGB. Of a large one only what is near borders is read.
    masks : RunTable
        Masks of the size of the picture.
    mapper : callable
        A function like the built-in `map`. That of a thread pool works on several masks at once.

    Returns
    -------
    list of Rle
        Where the filtered mask is above 1/2. A refined mask may be empty.
    """
    radius = radii(masks, round(WIDEST * max(picture.shape)))
    found: dict[int, Rle] = {}
    for one in np.unique(radius).tolist():  # a filter of one radius takes much memory
        chosen = np.flatnonzero(radius == one).tolist()
        refine: Callable[[int], Rle]
        if isinstance(picture, Windows):
            refine = partial(_refine_tiles, picture, masks, one)
        else:
            refine = partial(_refine, masks, GuidedFilter(picture, one, EPS))
        found.update(zip(chosen, mapper(refine, chosen), strict=True))
    return [found[i] for i in range(len(masks))]


def radii(masks: RunTable, widest: int) -> NDArray[np.int64]:
    """Return the half side of the filter's box for each mask, (n,) int64, at least 1.

    It is a power of two, or `widest`. The width of a mask is its area by the longer side of its
    box, so that a thin one gets a small box however long it is.
    """
    width = masks.areas / np.maximum(masks.boxes[:, 2:].max(axis=1, initial=1), 1)
    power = 2 ** np.log2(np.maximum(width * SHARE, 1)).astype(np.int64)
    found: NDArray[np.int64] = np.minimum(power, min(max(widest, 1), 1024))
    return found


def _refine_tiles(picture: Windows, masks: RunTable, radius: int, index: int) -> Rle:
    """Refine a mask in tiles of a large picture, those that its border is in or near."""
    height, width = masks.size
    reach = 2 * radius  # farther pixels do not matter
    x, y, w, h = masks.boxes[index].tolist()
    left, top = max(x - reach, 0), max(y - reach, 0)
    right, bottom = min(x + w + reach, width), min(y + h + reach, height)
    side = LARGE_TILE if reach <= LARGE_TILE // 4 else LARGE_TILE // 2
    found = np.zeros((bottom - top, right - left), np.bool_)
    for begin in range(top, bottom, side):
        for first in range(left, right, side):
            end, last = min(begin + side, bottom), min(first + side, right)
            a, b = max(first - reach, 0), max(begin - reach, 0)
            box = (a, b, min(last + reach, width) - a, min(end + reach, height) - b)
            inside = decode_window(masks.rle(index), *box)
            inner = slice(begin - b, end - b), slice(first - a, last - a)
            if inside.any() and not inside.all():
                inside = GuidedFilter(picture.read(box), radius, EPS).filter(inside) > 0.5
            found[begin - top : end - top, first - left : last - left] = inside[inner]
    return encode_window(found, left, top, masks.size)


def _refine(masks: RunTable, guided: GuidedFilter, index: int) -> Rle:
    height, width = masks.size
    x, y, w, h = masks.boxes[index].tolist()
    margin = guided.margin
    left, top = max(x - margin, 0), max(y - margin, 0)
    right, bottom = min(x + w + margin, width), min(y + h + margin, height)
    window = decode_window(masks.rle(index), left, top, right - left, bottom - top)
    return encode_window(guided.filter_window(window, left, top) > 0.5, left, top, masks.size)
