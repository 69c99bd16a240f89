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
                weight_y = falloff_y[abs(v - y)]
                for u in range(left, min(width, x + reach_x + 1), step):
                    da, db, dc = colours[v, u, 0] - a, colours[v, u, 1] - b, colours[v, u, 2] - c
                    far = min(last, int(da * da + db * db + dc * dc))
                    name = labels[v, u]
                    if names[slot] != name:
                        slot = 0
                        while slot < count and names[slot] != name:
                            slot += 1
                        if slot == MAX_LABELS:
                            slot = 0
                            continue
                        if slot == count:
                            names[slot], votes[slot] = name, 0.0
                            count += 1
                    votes[slot] += weight_y * falloff_x[abs(u - x)] * closeness[far]
            best = 0
            for k in range(1, count):
                if votes[k] > votes[best]:
                    best = k
            out[y, x] = names[best]
    return out


@kernel()
def remove_specks(labels: Labels, least: int) -> None:
    """Give 4-connected pieces of fewer than `least` pixels to the neighbour with the longest border.

    In place, in scan order.
    """
    height, width = labels.shape
    seen = np.zeros((height, width), dtype=np.bool_)
    queue = np.empty((height * width, 2), dtype=np.int32)
    names = np.empty(MAX_LABELS, dtype=np.int32)
    votes = np.empty(MAX_LABELS, dtype=np.int64)
    for y0 in range(height):
        for x0 in range(width):
            if seen[y0, x0]:
                continue
            name = labels[y0, x0]
            seen[y0, x0] = True
            queue[0, 0], queue[0, 1] = y0, x0
            done, size, count = 0, 1, 0
            while done < size:
                y, x = queue[done, 0], queue[done, 1]
                done += 1
                for side in range(4):
                    v = y + (side == 0) - (side == 1)
                    u = x + (side == 2) - (side == 3)
                    if v < 0 or u < 0 or v >= height or u >= width:
                        continue
                    other = labels[v, u]
                    if other == name:
                        if not seen[v, u]:
                            seen[v, u] = True
                            queue[size, 0], queue[size, 1] = v, u
                            size += 1
                    elif size < least:
                        k = 0
                        while k < count and names[k] != other:
                            k += 1
                        if k == count and count < MAX_LABELS:
                            names[k], votes[k] = other, 0
                            count += 1
                        if k < MAX_LABELS:
                            votes[k] += 1
            if size < least and count > 0:
                best = np.argmax(votes[:count])
                for k in range(size):
                    labels[queue[k, 0], queue[k, 1]] = names[best]


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
