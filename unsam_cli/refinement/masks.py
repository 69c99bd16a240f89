"""Refine the masks of an image, and accept or drop each of the results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unsam_cli.io.windows import Pixels
from unsam_cli.refinement.regions import fill_holes
from unsam_cli.refinement.settings import RefineSettings
from unsam_cli.rle import Rle, RunTable, decode_window, encode_window, intersections, resize

MapFunctor = Callable[[Callable[..., Any], Iterable[Any]], Iterable[Any]]

EMPTY, LOST, LARGE, CHANGED = "empty", "refined to nothing", "too large", "changed too much"
"""Reasons why a mask is dropped."""


class MaskRefiner(Protocol):
    """A method of refinement; several threads may call it."""

    def __call__(self, picture: Pixels, masks: RunTable, *, mapper: MapFunctor = map) -> list[Rle]:
        """Refine the masks of a picture (H, W, 3) uint8, which are of its size."""
        ...


@dataclass(frozen=True)
class Refined:
    """The masks of an image after refinement.

    Attributes
    ----------
    table : RunTable
        The masks that are kept.
    kept : (k,) int64
        Their indices among the masks before.
    dropped : Counter of str
        Number of masks that are dropped, by reason.
    """

    table: RunTable
    kept: NDArray[np.int64]
    dropped: Counter[str]


def refine_masks(
    picture: Pixels,
    masks: RunTable,
    settings: RefineSettings,
    refiner: MaskRefiner,
    *,
    mapper: MapFunctor = map,
) -> Refined:
    """Refine the masks of an image.

    Parameters
    ----------
    picture : (h, w, 3) uint8
        The image at any size, RGB.
    masks : RunTable
        Its masks.
    settings : RefineSettings
        Which of the results are accepted.
    refiner : MaskRefiner
        The method.
    mapper : callable
        A function like the built-in `map`. That of a thread pool works on several masks at once.

    Returns
    -------
    Refined
        The masks that are kept. A mask of the whole image has no border, and stays as it is.
    """
    task = begin(picture, masks)
    return complete(task, refiner(picture, task.work, mapper=mapper), settings, mapper=mapper)


@dataclass(frozen=True, eq=False)
class MaskTask:
    """The masks of an image, and those of them that a method works on.

    Attributes
    ----------
    picture : (h, w, 3) uint8
        The image at any size, RGB.
    masks : RunTable
        Its masks.
    borders : (n,) bool
        Which of them have a border.
    work : RunTable
        Those, at the size of the picture.
    """

    picture: Pixels
    masks: RunTable
    borders: NDArray[np.bool_]
    work: RunTable


def begin(picture: Pixels, masks: RunTable) -> MaskTask:
    """Return what a method has to do for a picture (h, w, 3) uint8 and masks of its image."""
    borders = bordered(masks)
    work = masks.take(np.flatnonzero(borders))
    return MaskTask(picture, masks, borders, resized(work, (picture.shape[0], picture.shape[1])))


def complete(
    task: MaskTask, found: list[Rle], settings: RefineSettings, *, mapper: MapFunctor = map
) -> Refined:
    """Decide which masks are kept; `found` is what a method has made of ``task.work``."""
    masks, borders = task.masks, task.borders
    table = RunTable.from_rles(found, size=task.work.size)
    refined = iter(resized(table, masks.size).to_rles())
    after = [next(refined) if borders[i] else masks.rle(i) for i in range(len(masks))]
    return accept(masks, after, settings, mapper=mapper)


def bordered(masks: RunTable) -> NDArray[np.bool_]:
    """Return which masks, (n,) bool, are neither empty nor the whole image."""
    height, width = masks.size
    found: NDArray[np.bool_] = (masks.areas > 0) & (masks.areas < height * width)
    return found


def resized(masks: RunTable, size: tuple[int, int]) -> RunTable:
    """Resize masks to `size` (H, W) by nearest neighbour; the same table if they have it."""
    if masks.size == size:
        return masks
    return RunTable.from_rles([resize(rle, size) for rle in masks.to_rles()], size=size)


def accept(
    before: RunTable,
    after: list[Rle],
    settings: RefineSettings,
    *,
    mapper: MapFunctor = map,
) -> Refined:
    """Decide which refined masks are kept.

    Parameters
    ----------
    before : RunTable
        n masks.
    after : list of Rle, n
        The same masks after refinement.
    settings : RefineSettings
        The rules.
    mapper : callable
        A function like the built-in `map`.

    Returns
    -------
    Refined
        The refined masks that are kept.
    """
    if settings.fill_holes:
        after = list(mapper(filled, after))
    count = len(before)
    both = RunTable.from_rles([*before.to_rles(), *after], size=before.size)
    pairs = np.arange(2 * count).reshape(2, count).T
    common = intersections(both, pairs)
    old, new = both.areas[:count], both.areas[count:]
    iou = common / np.maximum(old + new - common, 1)
    height, width = before.size
    rules = {
        EMPTY: old == 0,
        LOST: new == 0,
        LARGE: new > settings.max_area * height * width,
        CHANGED: iou < settings.min_iou,
    }
    kept = np.ones(count, np.bool_)
    dropped: Counter[str] = Counter()
    for reason, bad in rules.items():
        dropped[reason] = int((bad & kept).sum())
        kept &= ~bad
    chosen = np.flatnonzero(kept)
    return Refined(both.take(count + chosen), chosen, +dropped)


def filled(rle: Rle) -> Rle:
    """Fill the background of a mask that is not 4-connected with the border of the image."""
    table = RunTable.from_rles([rle])
    x, y, w, h = table.boxes[0].tolist()
    if not w:
        return rle
    return encode_window(fill_holes(decode_window(rle, x, y, w, h)), x, y, table.size)
