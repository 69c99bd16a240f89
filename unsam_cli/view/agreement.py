"""The masks of several files that show the same object, and their common colour."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unsam_cli.io.masks import Annotation
from unsam_cli.rle import RunTable, close_pairs
from unsam_cli.view.colours import colours_of, hierarchy_tones
from unsam_cli.view.hierarchy import Forest, fitted, forest

SAME = 0.5
"""Two masks show the same object if their IoU is more than this."""

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Layer:
    """The n masks of one file on a photograph.

    Attributes
    ----------
    annotations : list of Annotation
        The masks, in the order of the file.
    tree : Forest
        Their hierarchy.
    objects : (n,) int64
        Number of the object that a mask shows; masks of other layers with the same number show the
        same object. Those of the first layer are 0..n-1.
    colours : (n, 3) uint8
        Colour of each mask in sRGB; masks of the same object have the same colour.
    """

    annotations: list[Annotation]
    tree: Forest
    objects: IntArray
    colours: NDArray[np.uint8]


def layers_of(sets: Sequence[list[Annotation]]) -> list[Layer]:
    """Find the same objects in several sets of masks of one photograph, and colour them.

    Raises
    ------
    MaskFileError
        Masks of one set differ in size, or those of two sets differ in proportions.
    """
    trees = [forest(masks) for masks in sets]
    objects = same_objects(tables_of(sets)) if len(sets) > 1 else [np.arange(len(sets[0]))]
    colours = common_colours(trees, objects)
    return [Layer(*layer) for layer in zip(sets, trees, objects, colours, strict=True)]


def common_colours(trees: Sequence[Forest], objects: Sequence[IntArray]) -> list[NDArray[np.uint8]]:
    """Colour masks: those of the same object alike, the others by their hierarchy.

    Parameters
    ----------
    trees : sequence of Forest
        The hierarchy of the n masks of each set.
    objects : sequence of (n,) int64
        Numbers of the objects that they show; no two masks of a set show the same one.

    Returns
    -------
    list of (n, 3) uint8
        The colours of each set, in sRGB.
    """
    tones = np.full((max((int(o.max(initial=-1)) for o in objects), default=-1) + 1, 2), np.nan)
    found = []
    for tree, numbers in zip(trees, objects, strict=True):
        tones[numbers] = hierarchy_tones(tree.parents, tree.depths, given=tones[numbers])
        found.append(colours_of(tones[numbers]))
    return found


def shared(layers: Sequence[Layer]) -> list[int]:
    """Count the masks of each layer that show an object of the first one."""
    return [int((layer.objects < len(layers[0].objects)).sum()) for layer in layers]


def same_objects(tables: Sequence[RunTable]) -> list[IntArray]:
    """Give masks the numbers of the objects that they show, (n,) int64 for each table.

    The masks of a table are matched with those of the first table, then the rest with those of the
    second, and so on, see :func:`partners`. What matches none is an object of its own.
    """

    def match(i: int, j: int, free: IntArray, rest: IntArray) -> IntArray:
        return partners(tables[i].take(free), tables[j].take(rest))

    return _numbered([len(table) for table in tables], match)


def same_regions(
    labels: Sequence[NDArray[np.unsignedinteger]], counts: list[int]
) -> list[IntArray]:
    """Give masks the numbers of the objects whose visible parts are the same.

    What is visible never overlaps, so that an IoU over 0.5 leaves no choice, however many masks of
    a set are nearly equal.

    Parameters
    ----------
    labels : sequence of (H, W) unsigned integer
        The mask that is visible at each pixel in each picture: its index + 1; 0 is none.
    counts : list of int
        Number of masks in each picture.

    Returns
    -------
    list of (n,) int64
        Numbers as in :func:`same_objects`.
    """

    def match(i: int, j: int, free: IntArray, rest: IntArray) -> IntArray:
        n, m = counts[i] + 1, counts[j] + 1
        pairs, common = np.unique(labels[i].astype(np.int64) * m + labels[j], return_counts=True)
        a, b = pairs // m, pairs % m
        union = np.bincount(a, common, n)[a] + np.bincount(b, common, m)[b] - common
        good = (common > SAME * union) & (a > 0) & (b > 0)
        partner = np.full(m - 1, -1, dtype=np.int64)
        partner[b[good] - 1] = a[good] - 1
        place = np.full(n, -1, dtype=np.int64)  # the last one: no partner
        place[free] = np.arange(len(free))
        return np.asarray(place[partner[rest]])

    return _numbered(counts, match)


def _numbered(
    counts: Sequence[int], match: Callable[[int, int, IntArray, IntArray], IntArray]
) -> list[IntArray]:
    """Give the masks of sets, whose sizes are `counts`, the numbers of their objects.

    ``match(i, j, free, rest)`` returns, for each of the masks `rest` of set j, the place in `free`
    of its partner among the masks `free` of set i, or -1.
    """
    numbers: list[IntArray] = []
    known = 0
    for j, count in enumerate(counts):
        mine = np.full(count, -1, dtype=np.int64)
        for i, theirs in enumerate(numbers):
            rest = np.flatnonzero(mine < 0)
            free = np.flatnonzero(~np.isin(theirs, mine))
            found = match(i, j, free, rest)
            mine[rest[found >= 0]] = theirs[free[found[found >= 0]]]
        new = mine < 0
        mine[new] = known + np.arange(new.sum())
        known += int(new.sum())
        numbers.append(mine)
    return numbers


def partners(a: RunTable, b: RunTable) -> IntArray:
    """Match masks one to one, pairs with the highest IoU first.

    Parameters
    ----------
    a, b : RunTable
        n and m masks of one image.

    Returns
    -------
    (m,) int64
        Index in `a` of the partner of each mask of `b`, whose IoU is more than `SAME`; -1 for none.
    """
    pairs, iou = close_pairs(a, b, SAME)
    found = np.full(len(b), -1, dtype=np.int64)
    taken = np.zeros(len(a), dtype=np.bool_)
    for row in np.argsort(-iou, kind="stable").tolist():
        left, right = pairs[row]
        if iou[row] > SAME and not taken[left] and found[right] < 0:
            taken[left], found[right] = True, left
    return found


def tables_of(sets: Sequence[list[Annotation]]) -> list[RunTable]:
    """Return the runs of sets of masks, at the size of the first mask."""
    size = next((mask.rle["size"] for masks in sets for mask in masks), [1, 1])
    height, width = size
    return [
        RunTable.from_rles(fitted([m.rle for m in masks], (height, width)), size=(height, width))
        for masks in sets
    ]
