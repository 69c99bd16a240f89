"""Compiled part of :mod:`unsam_cli.conquer.votes`.

The weight of a vote depends on two pixels and not on labels, so it is computed once for the label
images of all trees. Then the votes of a pixel's own label are added up. It has half of all votes
for most pixels, and wins without a look at other labels. Loops over the voters of one row are
functions with flat arrays and unsigned indices, which the compiler turns into vector instructions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unsam_cli.jit import kernel

Labels = NDArray[np.int32]
Floats = NDArray[np.float32]
IntArray = NDArray[np.int64]


@kernel()
def compete_kernel(
    labels: Labels,
    colours: Floats,
    near: NDArray[np.bool_],
    falloff_y: IntArray,
    rows: IntArray,
    closeness: Labels,
    above: IntArray,
    below: IntArray,
    left: IntArray,
    kind: IntArray,
    beside: Labels,
    planes: Floats,
    names: Labels,
    stride: int,
    out: Labels,
) -> None:
    """Write the labels that change to `out`; for the first arguments see `votes.compete`.

    ``rows[above:below]`` are the rows of voters around each row of pixels, and `left` (W,) is the
    first voter around each column; `kind` and `beside` are those of `votes._kinds`. `planes` (3,
    V * stride) and `names` (T * V * stride,) are the voters' colours and labels, in V rows.
    """
    trees, height, width = labels.shape
    lanes = beside.shape[1]
    red, green, blue = planes[0], planes[1], planes[2]
    tall = 2 * len(falloff_y) - 1
    nearness = np.zeros(len(beside) * tall * lanes, dtype=np.int32)
    far = np.zeros(tall * lanes, dtype=np.int32)
    weight = np.zeros(tall * lanes, dtype=np.int64)
    tried = np.empty(tall * lanes + 1, dtype=np.int32)
    last = np.float32(len(closeness) - 1)
    for y in range(height):
        top, bottom = int(above[y]), int(below[y])
        _fill(nearness, beside, rows[top:bottom], y, falloff_y, tall)
        for x in range(width):
            some = False
            for t in range(trees):
                some |= near[t, y, x]
            if not some:
                continue
            a, b, c = colours[y, x, 0], colours[y, x, 1], colours[y, x, 2]
            begin = top * stride + left[x]
            for v in range(bottom - top):
                base, at = np.uint64(begin + v * stride), np.uint64(v * lanes)
                _measure(red, green, blue, base, np.uint64(lanes), a, b, c, far, at, last)
            at = np.uint64(kind[x] * tall * lanes)
            total = _weigh(far, nearness, at, closeness, weight, np.uint64((bottom - top) * lanes))
            for t in range(trees):
                if not near[t, y, x]:
                    continue
                own, here = labels[t, y, x], t * len(red) + begin
                mine = _tally(names, here, stride, 0, bottom - top, lanes, own, weight)
                if 2 * mine < total:
                    out[t, y, x] = _winner(
                        names, here, stride, bottom - top, lanes, own, mine, total, weight, tried
                    )


@kernel()
def _fill(
    nearness: Labels, beside: Labels, rows: IntArray, y: int, falloff_y: IntArray, tall: int
) -> None:
    """Write the weights by distance for the pixels of row y, (kinds, tall, lanes) flat."""
    kinds, lanes = beside.shape
    for k in range(kinds):
        for v in range(len(rows)):
            for u in range(lanes):
                fall = falloff_y[abs(rows[v] - y)]
                nearness[(k * tall + v) * lanes + u] = fall * beside[k, u]


@kernel()
def _measure(
    red: Floats,
    green: Floats,
    blue: Floats,
    base: np.uint64,
    lanes: np.uint64,
    a: float,
    b: float,
    c: float,
    far: Labels,
    at: np.uint64,
    last: np.float32,
) -> None:
    """Write squared distances of colour (a, b, c) to voters of a row, at most `last`, to `far`."""
    for k in range(lanes):
        da, db, dc = red[base + k] - a, green[base + k] - b, blue[base + k] - c
        distance = da * da + db * db + dc * dc
        far[at + k] = np.int32(distance if distance < last else last)


@kernel()
def _weigh(
    far: Labels,
    nearness: Labels,
    at: np.uint64,
    closeness: Labels,
    weight: IntArray,
    count: np.uint64,
) -> int:
    """Write the weights of all votes for a pixel; return their sum."""
    total = 0
    for k in range(count):
        product = np.int64(nearness[at + k]) * np.int64(closeness[np.uint32(far[k])])
        weight[k] = product
        total += int(product)
    return total


@kernel()
def _row(
    names: Labels, base: np.uint64, lanes: np.uint64, name: int, weight: IntArray, at: np.uint64
) -> int:
    """Sum of the votes for label `name` in one row of voters."""
    votes = 0
    for k in range(lanes):
        votes += weight[at + k] if names[base + k] == name else 0
    return votes


@kernel()
def _tally(
    names: Labels,
    begin: int,
    stride: int,
    first: int,
    tall: int,
    lanes: int,
    name: int,
    weight: IntArray,
) -> int:
    """Sum of the votes for label `name` in rows `first` to `tall` of a window."""
    votes = 0
    for v in range(first, tall):
        base, at = np.uint64(begin + v * stride), np.uint64(v * lanes)
        votes += _row(names, base, np.uint64(lanes), name, weight, at)
    return votes


@kernel()
def _winner(
    names: Labels,
    begin: int,
    stride: int,
    tall: int,
    lanes: int,
    own: int,
    mine: int,
    total: int,
    weight: IntArray,
    tried: Labels,
) -> int:
    """Return the label with the most of `total` votes, of which `mine` are for `own`.

    Labels are counted in the order of the window until those left cannot win. `tried` is working
    memory.
    """
    name, most, rest, count = own, mine, total - mine, 1
    tried[0] = own
    for v in range(tall):
        for k in range(lanes):
            new = names[begin + v * stride + k]
            if new == tried[count - 1] or weight[v * lanes + k] == 0:
                continue
            slot = 0
            while slot < count and tried[slot] != new:
                slot += 1
            if slot < count:
                continue
            tried[count] = new
            count += 1
            votes = _tally(names, begin, stride, v, tall, lanes, new, weight)
            if votes > most:
                name, most = new, votes
            rest -= votes
            if rest <= most:
                return name
    return name
