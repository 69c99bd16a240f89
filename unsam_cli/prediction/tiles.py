"""Join the masks of tiles and of the whole image at reduced size to masks of the image.

Masks of two neighbouring tiles are parts of one mask if they agree in the strip that both tiles
contain. A mask that is cut by the border of its tile and has no counterpart in the neighbouring
tile is dropped: objects that are too large for tiles come from the pass over the whole image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from unsam_cli import rle
from unsam_cli.prediction.masks import Masks, concatenate
from unsam_cli.prediction.views import View
from unsam_cli.rle import RunTable, intersections, suppress
from unsam_cli.rle.geometry import crop_runs

AGREE = 0.5
"""Two masks are parts of one if their IoU, in the strip that both tiles contain, is higher."""

SAME = 0.7
"""A mask of the whole image repeats a mask of the tiles if their IoU is higher."""

IntArray = NDArray[np.int64]


def join(
    parts: Sequence[Masks], views: Sequence[View], size: tuple[int, int], shared: int
) -> tuple[Masks, list[list[int]]]:
    """Join the masks of all views of an image.

    Parameters
    ----------
    parts : sequence of Masks
        Masks of each view, in pixels of the image.
    views : sequence of View
        The whole image, then its tiles.
    size : (H, W)
        Height and width of the image, in pixels.
    shared : int
        Least number of pixels that neighbouring tiles share. A smaller object lies completely in
        a tile, at full resolution, so masks of that size from the whole image are not needed.

    Returns
    -------
    Masks
        The joined masks. The score of one is the mean of its pieces' scores, weighted by area.
    list of list of int
        The pieces of each, as indices of the masks of all parts.
    """
    pieces = concatenate(parts[1:])
    table = RunTable.from_rles(pieces.rles, size=size)
    tile = np.repeat(np.arange(len(parts) - 1), [len(part) for part in parts[1:]])
    groups = [
        group for group in _groups(table, tile, views[1:]) if _is_whole(group, table, tile, views)
    ]
    joined = _unite(pieces, table, groups)
    boxes = RunTable.from_rles(parts[0].rles, size=size).boxes
    enough = np.flatnonzero((boxes[:, 2:] > shared).any(axis=1))
    large = parts[0].take(enough)
    masks = concatenate([joined, large])
    first = np.arange(len(masks)) < len(joined)
    best = np.argsort(-large.scores, kind="stable")
    order = np.concatenate([np.flatnonzero(first), len(joined) + best])
    suppressed = suppress(RunTable.from_rles(masks.rles, size=size), order, SAME, protected=first)
    keep = np.flatnonzero(suppressed)
    made_of = [[len(parts[0]) + i for i in group] for group in groups]
    made_of += [[i] for i in enough.tolist()]
    return masks.take(keep), [made_of[i] for i in keep.tolist()]


def _groups(table: RunTable, tile: IntArray, tiles: Sequence[View]) -> list[list[int]]:
    """Group the pieces of each mask, at most one per tile; pairs that agree best join first."""
    agreeing = sorted(_agreeing(table, tile, tiles), key=lambda pair: (-pair[0], *pair[1:]))
    group = {i: [i] for i in range(len(tile))}
    taken: set[tuple[int, int]] = set()
    for _, a, b in agreeing:
        # In a pair of tiles, a piece has one counterpart at most.
        ends = {(a, int(tile[b])), (b, int(tile[a]))}
        if ends & taken or {tile[i] for i in group[a]} & {tile[i] for i in group[b]}:
            continue
        taken |= ends
        both = sorted(group[a] + group[b])
        group.update(dict.fromkeys(both, both))
    return [pieces for first, pieces in group.items() if first == pieces[0]]


def _agreeing(
    table: RunTable, tile: IntArray, tiles: Sequence[View]
) -> Iterator[tuple[float, int, int]]:
    """Yield the IoU of pieces of neighbouring tiles in the shared strip, and their indices."""
    ends = np.searchsorted(tile, np.arange(len(tiles) + 1))
    for i, j, strip in _strips(tiles):
        a, b = (_cropped(table, np.arange(ends[t], ends[t + 1]), *strip) for t in (i, j))
        pairs = np.indices((len(a), len(b))).reshape(2, -1).T
        seen = RunTable.from_runs(*_stack([*a.values(), *b.values()]), (strip[3], strip[2]))
        common = intersections(seen, pairs + np.array([0, len(a)]))
        iou = common / (seen.areas[pairs[:, 0]] + seen.areas[pairs[:, 1] + len(a)] - common)
        first, second = list(a), list(b)
        for k in np.flatnonzero(iou > AGREE):
            yield float(iou[k]), first[pairs[k, 0]], second[pairs[k, 1]]


def _strips(tiles: Sequence[View]) -> Iterator[tuple[int, int, tuple[int, int, int, int]]]:
    """Yield pairs of neighbouring tiles, and the rectangle (x, y, w, h) that each pair shares."""
    for i, a in enumerate(tiles):
        bottom = a.y + a.height
        for j in range(i + 1, len(tiles)):
            b = tiles[j]
            if b.y >= bottom:
                break
            left, right = max(a.x, b.x), min(a.x, b.x) + a.width
            if left < right:
                yield i, j, (left, b.y, right - left, bottom - b.y)


def _cropped(
    table: RunTable, pieces: IntArray, x: int, y: int, w: int, h: int
) -> dict[int, IntArray]:
    """Return the runs inside a rectangle of the pieces that overlap it, by index."""
    left, top = table.boxes[pieces, 0], table.boxes[pieces, 1]
    right, bottom = left + table.boxes[pieces, 2], top + table.boxes[pieces, 3]
    near = (left < x + w) & (right > x) & (top < y + h) & (bottom > y)
    runs = {int(i): _runs(table, int(i)) for i in pieces[near]}
    cropped = {i: crop_runs(r, table.size[0], x, y, w, h) for i, r in runs.items()}
    return {i: r for i, r in cropped.items() if len(r)}


def _is_whole(group: list[int], table: RunTable, tile: IntArray, views: Sequence[View]) -> bool:
    """Whether every piece that a border of its tile cuts continues in a neighbouring tile."""
    tiles = [views[1 + tile[i]] for i in group]
    for i, own in zip(group, tiles, strict=True):
        left, top, right, bottom = cuts(table.boxes[i], own, views[0])
        if (
            (left and not any(t.x < own.x for t in tiles))
            or (top and not any(t.y < own.y for t in tiles))
            or (right and not any(t.x > own.x for t in tiles))
            or (bottom and not any(t.y > own.y for t in tiles))
        ):
            return False
    return True


def cuts(box: IntArray, tile: View, image: View) -> tuple[bool, bool, bool, bool]:
    """Return whether the left, top, right and bottom border of a tile cut a mask in it.

    `box` is x, y, w, h of the mask in pixels of the image, whose own borders cut nothing.
    """
    x, y, w, h = box.tolist()
    right, bottom = tile.x + tile.width, tile.y + tile.height
    return (
        x == tile.x > 0,
        y == tile.y > 0,
        x + w == right < image.width,
        y + h == bottom < image.height,
    )


def _unite(pieces: Masks, table: RunTable, groups: Sequence[list[int]]) -> Masks:
    rles, scores = [], []
    for group in groups:
        areas, united = table.areas[group], [pieces.rles[i] for i in group]
        rles.append(united[0] if len(united) == 1 else rle.merge(united))
        scores.append((pieces.scores[group] * areas).sum() / areas.sum())
    return Masks(rles, np.array(scores, dtype=np.float64))


def _runs(table: RunTable, index: int) -> NDArray[np.int32]:
    return table.runs[table.offsets[index] : table.offsets[index + 1]]


def _stack(runs: Sequence[IntArray]) -> tuple[IntArray, IntArray]:
    """Offsets (n + 1,) and runs (R, 2) of n masks, of which `runs` holds one array each."""
    offsets = np.cumsum([0, *map(len, runs)])
    return offsets, np.concatenate([np.empty((0, 2), dtype=np.int64), *runs])
