"""Compiled parts of :mod:`unsam_cli.conquer.pixels`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unsam_cli.jit import kernel

Labels = NDArray[np.int32]
Floats = NDArray[np.float32]
IntArray = NDArray[np.int64]

LARGE, UNKNOWN = -1, -2
"""What stands for no small piece, and for a pixel that has not been visited."""
MAX_LABELS = 64
"""Most labels that compete for a small piece: the first ones found along its border."""


@kernel()
def borders(labels: Labels, reach_y: int, reach_x: int) -> NDArray[np.bool_]:
    """Mark the pixels near a change of label, (H, W) bool.

    A pixel is marked if its row has a change of label within `reach_x` pixels, or its column within
    `reach_y` pixels.
    """
    height, width = labels.shape
    near = np.zeros((height, width), dtype=np.bool_)
    for y in range(height):
        for x in range(width):
            here = labels[y, x]
            if x + 1 < width and labels[y, x + 1] != here:
                near[y, max(0, x + 1 - reach_x) : x + 1 + reach_x] = True
            if y + 1 < height and labels[y + 1, x] != here:
                near[max(0, y + 1 - reach_y) : y + 1 + reach_y, x] = True
    return near


@kernel()
def _slot(names: Labels, votes: IntArray, count: int, name: int) -> int:
    """Index of a name among the first `count`; a new one is appended with 0 votes; -1 if full."""
    for k in range(count):
        if names[k] == name:
            return k
    if count == len(names):
        return -1
    names[count], votes[count] = name, 0
    return count


@kernel()
def _flood(labels: Labels, least: int, number: int, piece: Labels, pixels: Labels, at: int) -> int:
    """List the pixels of the piece to which pixel ``pixels[at]`` belongs, from `at` on.

    Return where the list ends; or `at`, and mark those found as `LARGE`, if there are `least` or
    more. `piece` (H, W) and `pixels` (H * W, 2) are those of `_small_pieces`.
    """
    height, width = labels.shape
    name, size, done, large = labels[pixels[at, 0], pixels[at, 1]], at + 1, at, False
    piece[pixels[at, 0], pixels[at, 1]] = number
    while done < size and not large:
        y, x = pixels[done, 0], pixels[done, 1]
        done += 1
        for side in range(4):
            v = y + (side == 0) - (side == 1)
            u = x + (side == 2) - (side == 3)
            if 0 <= v < height and 0 <= u < width and labels[v, u] == name:
                large |= piece[v, u] == LARGE
                if piece[v, u] == UNKNOWN:
                    piece[v, u] = number
                    pixels[size, 0], pixels[size, 1] = v, u
                    size += 1
        large |= size - at >= least
    for k in range(at, size if large else at):
        piece[pixels[k, 0], pixels[k, 1]] = LARGE
    return at if large else size


@kernel()
def _small_pieces(labels: Labels, least: int) -> tuple[Labels, Labels, IntArray]:
    """Find the P 4-connected pieces of equal labels with fewer than `least` pixels.

    Return the piece of each pixel, (H, W), `LARGE` for none; rows and columns of their pixels,
    piece by piece, (H * W, 2); and where each piece begins in that list, (P + 1,).
    """
    height, width = labels.shape
    piece = np.full((height, width), UNKNOWN, dtype=np.int32)
    pixels = np.empty((height * width, 2), dtype=np.int32)
    begin = np.zeros(height * width + 1, dtype=np.int64)
    count = 0
    for y in range(height):
        for x in range(width):
            if piece[y, x] >= 0:
                continue
            name, at = labels[y, x], begin[count]
            if (x > 0 and labels[y, x - 1] == name) or (y > 0 and labels[y - 1, x] == name):
                piece[y, x] = LARGE  # small pieces are found whole, at their first pixel
                continue
            pixels[at, 0], pixels[at, 1] = y, x
            end = _flood(labels, least, count, piece, pixels, at)
            if end > at:
                count += 1
                begin[count] = end
    return piece, pixels, begin[: count + 1].copy()


@kernel()
def _heir(
    labels: Labels,
    piece: Labels,
    pixels: Labels,
    small: NDArray[np.bool_],
    names: Labels,
    votes: IntArray,
) -> int:
    """Return the label that a piece shares its longest border with; -1 if there is none.

    `labels` and `piece` are (H, W) int32, `pixels` (n, 2) int32 are rows and columns of the piece.
    Neighbours that belong to a piece marked in `small`, (P,) bool, do not count. `names` and
    `votes`, (MAX_LABELS,), are working memory. In a tie the label that was found first is taken.
    """
    height, width = labels.shape
    count = int(np.int64(0))
    for k in range(len(pixels)):
        y, x = pixels[k, 0], pixels[k, 1]
        for side in range(4):
            v = y + (side == 0) - (side == 1)
            u = x + (side == 2) - (side == 3)
            inside = 0 <= v < height and 0 <= u < width
            if inside and (piece[v, u] < 0 or not small[piece[v, u]]):
                slot = _slot(names, votes, count, labels[v, u])
                if slot >= 0:
                    votes[slot] += 1
                    count = max(count, slot + 1)
    best = 0
    for slot in range(1, count):
        if votes[slot] > votes[best]:
            best = slot
    return int(names[best]) if count else -1


@kernel()
def remove_specks(labels: Labels, least: int) -> None:
    """Give 4-connected pieces of fewer than `least` pixels to their neighbours, in place.

    All small pieces that touch a large one change together, then those that touch these, and so
    on; so the result does not depend on the order of the pieces. `labels` is (H, W) int32.
    """
    piece, pixels, begin = _small_pieces(labels, least)
    names = np.empty(MAX_LABELS, dtype=np.int32)
    votes = np.empty(MAX_LABELS, dtype=np.int64)
    many = len(begin) - 1
    small = np.ones(many, dtype=np.bool_)
    waiting, heirs = np.arange(many), np.empty(many, dtype=np.int64)
    before = -1
    while many != before:
        for k in range(many):
            own = pixels[begin[waiting[k]] : begin[waiting[k] + 1]]
            heirs[k] = _heir(labels, piece, own, small, names, votes)
        before, many = many, 0
        for k in range(before):
            one, heir = waiting[k], heirs[k]
            if heir < 0:
                waiting[many] = one
                many += 1
                continue
            small[one] = False
            for at in range(begin[one], begin[one + 1]):
                labels[pixels[at, 0], pixels[at, 1]] = heir


@kernel()
def outline_runs(
    labels: Labels,
    up: IntArray,
    rows: IntArray,
    starts: IntArray,
    columns: IntArray,
    corner: int,
    height: int,
    out: IntArray,
    fill: IntArray,
) -> None:
    """Find the column-major runs of every cluster of a label image scaled to a box of an image.

    `labels` (w, h), with its columns first, and `up` (K + 1,) are those of
    :class:`unsam_cli.conquer.levels.Partition`. `rows` are the rows of `labels` that the box shows,
    `starts` where each of them starts in the box, and where the box ends; `columns` holds the
    column of `labels` for each column of the box. `corner` is the column-major index of the box's
    first pixel in the image, which has `height` rows. `out`, (R, 2) int64, gets start and end
    (exclusive) of each run.

    The function is called twice. With an empty `out` it counts the runs of each cluster into
    `fill`, (K + 1,) int64; then `fill` holds the index of each cluster's first run in `out`, and is
    increased in place. At a change of label down a column, the clusters that contain only the old
    label end a run, and those that contain only the new label begin one. So the cost grows with the
    number of runs.
    """
    count_only = len(out) == 0
    stopped = np.full(len(up), -1, dtype=np.int64)
    for x in range(len(columns)):
        base = corner + x * height
        old = 0
        for k in range(len(starts)):
            new = labels[columns[x], rows[k]] if k < len(rows) else 0
            if new == old:
                continue
            place = base + starts[k]
            a, b = old, new
            while a != b:
                if a > b:  # pre-order: the higher id is no ancestor of the lower one
                    stopped[a] = place
                    if not count_only:
                        out[fill[a] - 1, 1] = place
                    a = up[a]
                else:
                    if stopped[b] != place:
                        fill[b] += 1
                        if not count_only:
                            out[fill[b] - 1, 0] = place
                    b = up[b]
            old = new
