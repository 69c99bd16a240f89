"""Compiled part of :mod:`unsam_cli.conquer.votes`.

The weight of a vote depends on two pixels and not on labels, so it is computed once for the label
images of all trees. Then the votes of a pixel's own label are added up, those of the nearest rows
first. It has half of all votes for most pixels, and wins without a look at others. Loops over the
voters of one row are functions with flat arrays and unsigned indices, which the compiler turns into
vector instructions.

All functions use these names: `names` (T * V * stride,), the labels of the voters in T label
images, V rows of `stride` voters; `lanes`, the number of voters in a row of a window; `weight`
(tall * lanes,), the weights of the votes of a window for one pixel.
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
    rows: IntArray,
    nearness: Floats,
    scale: np.float32,
    above: IntArray,
    below: IntArray,
    left: IntArray,
    kind: IntArray,
    planes: Floats,
    names: Labels,
    stride: int,
    out: Labels,
) -> None:
    """Write the labels that change to `out`; for the first arguments see `votes.compete`.

    `kind` (W,) and `nearness` are those of `votes._kinds`, and `scale` is the factor of `_weigh`.
    ``rows[above:below]`` are the rows of voters around each row of pixels, and `left` (W,) is the
    first voter around each column. `planes` (3, V * stride) are the voters' colours.
    """
    trees, height, width = labels.shape
    lanes = nearness.shape[2]
    red, green, blue = planes[0], planes[1], planes[2]
    weight = np.zeros(np.max(below - above) * lanes, dtype=np.int32)
    tried = np.empty(len(weight) + 1, dtype=np.int32)
    for y in range(height):
        top, bottom = int(above[y]), int(below[y])
        middle = top
        while middle + 1 < bottom and rows[middle + 1] <= y:
            middle += 1
        for x in range(width):
            some = False
            for t in range(trees):
                some |= near[t, y, x]
            if not some:
                continue
            a, b, c = colours[y, x, 0], colours[y, x, 1], colours[y, x, 2]
            begin, total = top * stride + left[x], 0
            for v in range(bottom - top):
                beside = nearness[kind[x], abs(rows[top + v] - y)]
                base, at = np.uint64(begin + v * stride), np.uint64(v * lanes)
                total += _weigh(red, green, blue, base, a, b, c, scale, beside, weight, at)
            for t in range(trees):
                if not near[t, y, x]:
                    continue
                own, here = labels[t, y, x], t * len(red) + begin
                mine = _tally(
                    names, here, stride, middle - top, bottom - top, lanes, own, weight, total
                )
                if 2 * mine < total:
                    out[t, y, x] = _winner(
                        names, here, stride, bottom - top, lanes, own, mine, total, weight, tried
                    )


@kernel()
def _weigh(
    red: Floats,
    green: Floats,
    blue: Floats,
    base: np.uint64,
    a: np.float32,
    b: np.float32,
    c: np.float32,
    scale: np.float32,
    nearness: Floats,
    weight: Labels,
    at: np.uint64,
) -> int:
    """Write the weights of the votes of a row of voters for colour (a, b, c); return their sum.

    The weight by colour is (1 - scale * d) to the power of 64, d the squared distance: nearly a
    Gaussian, but made of operations that are exact on all machines and fit vector instructions.
    """
    one, nothing = np.float32(1.0), np.float32(0.0)
    total = np.int32(0)
    for k in range(np.uint64(len(nearness))):
        da, db, dc = red[base + k] - a, green[base + k] - b, blue[base + k] - c
        close = one - (da * da + db * db + dc * dc) * scale
        close = close if close > nothing else nothing
        for _ in range(6):
            close = close * close
        vote = np.int32(close * nearness[k])
        weight[at + k] = vote
        total = np.int32(total + vote)
    return int(total)


@kernel()
def _row(
    names: Labels, base: np.uint64, lanes: np.uint64, name: np.int32, weight: Labels, at: np.uint64
) -> int:
    """Sum of the votes for label `name` in one row of voters."""
    votes = np.int32(0)
    for k in range(lanes):
        votes = np.int32(votes + (weight[at + k] if names[base + k] == name else np.int32(0)))
    return int(votes)


@kernel()
def _tally(
    names: Labels,
    begin: int,
    stride: int,
    middle: int,
    tall: int,
    lanes: int,
    name: np.int32,
    weight: Labels,
    total: int,
) -> int:
    """Sum of the votes for label `name`, from row `middle` outwards until it has half of all."""
    votes, low, high = 0, middle, middle + 1
    count = np.uint64(lanes)
    while (low >= 0 or high < tall) and 2 * votes < total:
        if low >= 0:
            base, at = np.uint64(begin + low * stride), np.uint64(low * lanes)
            votes += _row(names, base, count, name, weight, at)
            low -= 1
        if high < tall:
            base, at = np.uint64(begin + high * stride), np.uint64(high * lanes)
            votes += _row(names, base, count, name, weight, at)
            high += 1
    return votes


@kernel()
def _winner(
    names: Labels,
    begin: int,
    stride: int,
    tall: int,
    lanes: int,
    own: np.int32,
    mine: int,
    total: int,
    weight: Labels,
    tried: Labels,
) -> np.int32:
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
            votes = 0
            for row in range(v, tall):
                base, at = np.uint64(begin + row * stride), np.uint64(row * lanes)
                votes += _row(names, base, np.uint64(lanes), new, weight, at)
            if votes > most:
                name, most = new, votes
            rest -= votes
            if rest <= most:
                return name
    return name
