"""Masks as polygons.

Outlines run along the edges of pixels. So polygons with tolerance 0 rasterise, by COCO's rule, to
exactly the original mask. Holes are joined to the outline around them by a cut of zero width, since
COCO takes the union of polygons and cannot subtract one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unsam_cli.jit import kernel
from unsam_cli.rle import Rle, boxes, decode_window, piece_of

PointArray = NDArray[np.int64]

_NEAREST = 100  # most loops that are joined at the nearest point


def outlines(rle: Rle, *, tolerance: float = 0.0) -> list[PointArray]:
    """Trace the outlines of a mask, one per 4-connected piece, with its holes joined to it.

    Parameters
    ----------
    rle : Rle
        The mask.
    tolerance : float
        Largest distance in pixels of a dropped point from the simplified outline; 0 is exact.

    Returns
    -------
    list of (n, 2) int64
        x, y of corners of pixels, 0..W and 0..H. Outlines are closed, without repeating the first
        point. The list is empty for an empty mask.
    """
    return [join(lines) for lines in _pieces(rle, tolerance, simple=False)]


def pieces(rle: Rle, *, tolerance: float = 0.0) -> list[list[PointArray]]:
    """Trace a mask as :func:`outlines` does, with outer lines and holes apart.

    Returns
    -------
    list of list of (n, 2) int64
        For each 4-connected piece its outer line, then its holes. The mask lies on the right of
        all lines, seen with y downwards. With tolerance 0 no line visits a point twice: where a
        line touches itself, it is split.
    """
    return _pieces(rle, tolerance, simple=True)


def _pieces(rle: Rle, tolerance: float, *, simple: bool) -> list[list[PointArray]]:
    x, y, w, h = boxes([rle])[0].tolist()
    if not w:
        return []
    window = np.zeros((h + 2, w + 2), dtype=np.bool_)
    window[1:-1, 1:-1] = decode_window(rle, x, y, w, h)
    points, ends, starts = _trace(window)
    place = np.array([x - 1, y - 1])
    loops, origins = np.split(points, ends[:-1]), list(starts + place[::-1])
    if simple:
        parts = [_split(loop) for loop in loops]
        origins = [origin for origin, found in zip(origins, parts, strict=True) for _ in found]
        loops = [part for found in parts for part in found]
    lines = [simplify(loop, tolerance) + place for loop in loops]
    return [lines] if len(lines) == 1 else _by_piece(rle, loops, lines, origins)


def _split(loop: PointArray) -> list[PointArray]:
    """Split a closed line where it visits a point again."""
    if len(np.unique(loop, axis=0)) == len(loop):
        return [loop]
    found: list[PointArray] = []
    path: list[tuple[int, int]] = []
    at: dict[tuple[int, int], int] = {}
    for x, y in loop.tolist():
        if (x, y) in at:
            begin = at[x, y]
            found.append(np.array(path[begin:], dtype=np.int64))
            for point in path[begin:]:
                del at[point]
            del path[begin:]
        at[x, y] = len(path)
        path.append((x, y))
    return [*found, np.array(path, dtype=np.int64)]


def _by_piece(
    rle: Rle, loops: list[PointArray], lines: list[PointArray], starts: list[PointArray]
) -> list[list[PointArray]]:
    """Collect the lines of each piece: its outer loop turns right, and those of its holes left."""
    found: dict[int, list[PointArray]] = {}
    pieces = piece_of(rle, np.array(starts)).tolist()
    for loop, line, piece in zip(loops, lines, pieces, strict=True):
        of_piece = found.setdefault(piece, [])
        of_piece.insert(0 if _twice_area(loop) > 0 else len(of_piece), line)
    return list(found.values())


def join(loops: list[PointArray]) -> PointArray:
    """Join closed lines `loops`, each (n, 2), to one closed line by cuts of zero width.

    Filled by the even-odd rule, the line covers the same pixels as the loops. A loop is joined at
    the nearest point of the line. More than 100 loops are joined in a chain, in linear time.
    """
    if len(loops) > _NEAREST:
        there = [np.concatenate([loop, loop[:1]]) for loop in loops]
        back = [loop[:1] for loop in loops[-2::-1]]
        return np.concatenate([*there, *back])
    joined = loops[0]
    for loop in loops[1:]:
        distance = np.abs(joined - loop[0]).sum(axis=1)
        at = int(distance.argmin())
        joined = np.concatenate([joined[: at + 1], loop, loop[:1], joined[at:]])
    return joined


def simplify(loop: PointArray, tolerance: float) -> PointArray:
    """Simplify a closed line by the Douglas-Peucker algorithm.

    Parameters
    ----------
    loop : (n, 2) int64
        Points of a closed line.
    tolerance : float
        Largest distance of a dropped point from the line, in pixels.

    Returns
    -------
    (m, 2) int64
        At least three of the points; all points if fewer would not enclose an area.
    """
    if tolerance <= 0 or len(loop) < 5:
        return loop
    far = int(((loop - loop[0]) ** 2).sum(axis=1).argmax())
    closed = np.concatenate([loop, loop[:1]])
    kept = loop[_important(closed, far, float(tolerance))[:-1]]
    return kept if len(kept) >= 3 and _twice_area(kept) * _twice_area(loop) > 0 else loop


def _twice_area(loop: PointArray) -> int:
    x, y = loop[:, 0], loop[:, 1]
    return int((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())


@kernel()
def _important(line: PointArray, middle: int, tolerance: float) -> NDArray[np.bool_]:
    """Whether each point is needed if both ends and `middle` are kept; the line may be closed."""
    count = len(line)
    keep = np.zeros(count, dtype=np.bool_)
    keep[0] = keep[middle] = keep[count - 1] = True
    stack = np.empty((count + 2, 2), dtype=np.int64)
    stack[0, 0], stack[0, 1] = 0, middle
    stack[1, 0], stack[1, 1] = middle, count - 1
    depth = 2
    while depth:
        depth -= 1
        a, b = stack[depth]
        dx, dy = line[b, 0] - line[a, 0], line[b, 1] - line[a, 1]
        length = np.sqrt(float(dx * dx + dy * dy))
        worst, at = tolerance, -1
        for i in range(a + 1, b):
            px, py = line[i, 0] - line[a, 0], line[i, 1] - line[a, 1]
            off = abs(dx * py - dy * px) / length if length else np.sqrt(float(px * px + py * py))
            if off > worst:
                worst, at = off, i
        if at >= 0:
            keep[at] = True
            stack[depth, 0], stack[depth, 1] = a, at
            stack[depth + 1, 0], stack[depth + 1, 1] = at, b
            depth += 2
    return keep


@kernel()
def _trace(mask: NDArray[np.bool_]) -> tuple[PointArray, PointArray, PointArray]:
    """Follow all borders of a mask whose outermost pixels are background.

    Returns
    -------
    points : (P, 2) int64
        Corners x, y of all borders, with the mask on the right-hand side.
    ends : (L,) int64
        End (exclusive) of each border in `points`.
    starts : (L, 2) int64
        Row and column of a pixel of the mask at each border.
    """
    h, w = mask.shape
    edges, loops = 0, 0
    for row in range(1, h):
        for column in range(w):
            edges += mask[row, column] != mask[row - 1, column]
            loops += mask[row, column] and not mask[row - 1, column]
    # A border has at most two corners per horizontal edge.
    points = np.empty((2 * edges, 2), dtype=np.int64)
    ends = np.empty(loops, dtype=np.int64)
    starts = np.empty((loops, 2), dtype=np.int64)
    seen = np.zeros((h, w), dtype=np.bool_)
    at, loop = 0, 0
    for row in range(1, h):
        for column in range(w):
            if mask[row, column] and not (mask[row - 1, column] or seen[row, column]):
                at = _follow(mask, seen, row, column, points, at)
                ends[loop] = at
                starts[loop, 0], starts[loop, 1] = row, column
                loop += 1
    return points[:at], ends[:loop], starts[:loop]


@kernel()
def _follow(
    mask: NDArray[np.bool_],
    seen: NDArray[np.bool_],
    y: int,
    x: int,
    points: PointArray,
    at: int,
) -> int:
    """Follow the border that begins at the top of pixel (y, x); return the end of its points."""
    step = ((1, 0), (0, 1), (-1, 0), (0, -1))  # east, south, west, north
    # Row and column, relative to a corner, of the pixel ahead on the right for each direction. The
    # pixel ahead on the left is that for the direction before.
    right = ((0, 0), (0, -1), (-1, -1), (-1, 0))
    heading = 0
    while heading != 0 or not seen[y, x]:
        if heading == 0:
            seen[y, x] = True
        x += step[heading][0]
        y += step[heading][1]
        left = (heading + 3) % 4
        if not mask[y + right[heading][0], x + right[heading][1]]:
            turn = 1  # pieces that touch only at a corner are separate
        elif mask[y + right[left][0], x + right[left][1]]:
            turn = 3
        else:
            continue
        points[at, 0], points[at, 1] = x, y
        at += 1
        heading = (heading + turn) % 4
    return at
