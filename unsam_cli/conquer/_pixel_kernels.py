"""Compiled parts of :mod:`unsam_cli.conquer.pixels`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unsam_cli.jit import kernel

Labels = NDArray[np.int32]
Floats = NDArray[np.float32]
IntArray = NDArray[np.int64]

MAX_LABELS = 64
"""Most labels that compete for a pixel; the first ones met in its window."""


@kernel()
def enlarge(labels: Labels, height: int, width: int) -> Labels:
    """Nearest-neighbour resize of a label image."""
    h, w = labels.shape
    out = np.empty((height, width), dtype=np.int32)
    for y in range(height):
        row = labels[(2 * y + 1) * h // (2 * height)]
        for x in range(width):
            out[y, x] = row[(2 * x + 1) * w // (2 * width)]
    return out


@kernel()
def borders(labels: Labels, reach_y: int, reach_x: int) -> NDArray[np.bool_]:
    """Pixels within reach of another label: two running windows, rows then columns."""
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
def _slot(names: Labels, votes: Floats, count: int, name: int) -> int:
    """Place of a name among the first `count`, appended without votes if new; -1 if full."""
    for k in range(count):
        if names[k] == name:
            return k
    if count == len(names):
        return -1
    names[count], votes[count] = name, 0.0
    return count


@kernel(fastmath=True)
def compete(
    labels: Labels,
    colours: Floats,
    near: NDArray[np.bool_],
    falloff_y: Floats,
    falloff_x: Floats,
    step: int,
    closeness: Floats,
) -> Labels:
    """Give every pixel near a border the label with the most votes around it.

    Votes come from every `step`-th pixel of the window, weighted by nearness and by likeness of
    colour: ``closeness`` tabulates the latter over squared distance.
    """
    height, width = labels.shape
    out = labels.copy()
    reach_y, reach_x = len(falloff_y) - 1, len(falloff_x) - 1
    names = np.empty(MAX_LABELS, dtype=np.int32)
    votes = np.empty(MAX_LABELS, dtype=np.float32)
    last = len(closeness) - 1
    for y in range(height):
        top = max(0, y - reach_y)
        top += (step // 2 - top) % step
        for x in range(width):
            if not near[y, x]:
                continue
            left = max(0, x - reach_x)
            left += (step // 2 - left) % step
            a, b, c = colours[y, x, 0], colours[y, x, 1], colours[y, x, 2]
            names[0], votes[0], count, slot = labels[y, x], 0.0, 1, 0
            for v in range(top, min(height, y + reach_y + 1), step):
                for u in range(left, min(width, x + reach_x + 1), step):
                    da, db, dc = colours[v, u, 0] - a, colours[v, u, 1] - b, colours[v, u, 2] - c
                    far = min(last, int(da * da + db * db + dc * dc))
                    if names[slot] != labels[v, u]:
                        slot = max(0, _slot(names, votes, count, labels[v, u]))
                        count = max(count, slot + 1)
                    nearness = falloff_y[abs(v - y)] * falloff_x[abs(u - x)]
                    votes[slot] += nearness * closeness[far]
            out[y, x] = names[np.argmax(votes[:count])]
    return out


@kernel()
def _flood(labels: Labels, seen: NDArray[np.bool_], queue: Labels, y: int, x: int) -> int:
    """Collect the 4-connected piece of (y, x) in `queue`; return its size."""
    height, width = labels.shape
    name = labels[y, x]
    seen[y, x] = True
    queue[0, 0], queue[0, 1] = y, x
    done, size = 0, 1
    while done < size:
        y, x = queue[done]
        done += 1
        for side in range(4):
            v = y + (side == 0) - (side == 1)
            u = x + (side == 2) - (side == 3)
            inside = 0 <= v < height and 0 <= u < width
            if inside and labels[v, u] == name and not seen[v, u]:
                seen[v, u] = True
                queue[size, 0], queue[size, 1] = v, u
                size += 1
    return size


@kernel()
def _surroundings(labels: Labels, piece: Labels, names: Labels, votes: Floats) -> int:
    """Label that a piece has the longest border with; its own if there is none."""
    height, width = labels.shape
    own = labels[piece[0, 0], piece[0, 1]]
    names[0], votes[0], count = own, 0.0, 1
    for k in range(len(piece)):
        y, x = piece[k]
        for side in range(4):
            v = y + (side == 0) - (side == 1)
            u = x + (side == 2) - (side == 3)
            if 0 <= v < height and 0 <= u < width and labels[v, u] != own:
                slot = _slot(names, votes, count, labels[v, u])
                if slot >= 0:
                    votes[slot] += 1.0
                    count = max(count, slot + 1)
    return int(names[np.argmax(votes[:count])])


@kernel()
def remove_specks(labels: Labels, least: int) -> None:
    """Give 4-connected pieces of fewer than `least` pixels to their neighbours, in place."""
    height, width = labels.shape
    seen = np.zeros((height, width), dtype=np.bool_)
    queue = np.empty((height * width, 2), dtype=np.int32)
    names = np.empty(MAX_LABELS, dtype=np.int32)
    votes = np.empty(MAX_LABELS, dtype=np.float32)
    for y in range(height):
        for x in range(width):
            if not seen[y, x]:
                size = _flood(labels, seen, queue, y, x)
                if size < least:
                    name = _surroundings(labels, queue[:size], names, votes)
                    for k in range(size):
                        labels[queue[k, 0], queue[k, 1]] = name


@kernel()
def outline_runs(
    labels: Labels, up: IntArray, box: IntArray, height: int, out: IntArray, fill: IntArray
) -> None:
    """Column-major runs of every cluster of a label image scaled to a box of an image.

    Called twice: with empty `out` it counts runs into `fill`; then `fill` holds the place of each
    cluster's first run in `out`. Walking down a column, a change of label ends the runs of the
    clusters around the old one and begins those around the new one, but for common ones; so the
    cost is that of the runs written.
    """
    h, w = labels.shape
    x0, y0, wide, tall = box[0], box[1], box[2], box[3]
    count_only = len(out) == 0
    stopped = np.full(len(up), -1, dtype=np.int64)
    for x in range(wide):
        column = (2 * x + 1) * w // (2 * wide)
        base = (x0 + x) * height + y0
        old = 0
        for y in range(tall + 1):
            new = 0
            if y < tall:
                new = labels[(2 * y + 1) * h // (2 * tall), column]
            if new == old:
                continue
            a, b = old, new
            while a != b:
                if a > b:  # pre-order: the higher id is not an ancestor of the lower
                    stopped[a] = base + y
                    if not count_only:
                        out[fill[a] - 1, 1] = base + y
                    a = up[a]
                else:
                    if stopped[b] != base + y:
                        fill[b] += 1
                        if not count_only:
                            out[fill[b] - 1, 0] = base + y
                    b = up[b]
            old = new
