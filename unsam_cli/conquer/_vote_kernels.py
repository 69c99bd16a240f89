"""Compiled part of :mod:`unsam_cli.conquer.votes`.

The weight of a vote depends on two pixels and not on labels, so it is computed once for the label
images of all trees. Then the votes of a pixel's own label are added up. It has half of all votes
for most pixels, and wins without a look at others.

The voters around a row of pixels are kept column by column, `tall` of them in each. So the window
of every pixel is one piece of memory, and loops over it, with unsigned indices, become vector
instructions. A row of voters has the same place in all columns, its index modulo `tall`, until
another row takes it. `shades` (3, n) are the colours of these voters and `names` (T, n) their
labels in T label images; the window of a pixel starts at `begin`. `weight` (window,) are its votes,
0 for voters that are not in it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unsam_cli.jit import kernel

Labels = NDArray[np.int32]
Floats = NDArray[np.float32]
IntArray = NDArray[np.int64]

CHUNK = 32
"""Windows are filled up to a multiple of this, which is one of the length of vectors."""


@kernel()
def compete_kernel(
    labels: Labels,
    colours: Floats,
    near: NDArray[np.bool_],
    rows: IntArray,
    columns: IntArray,
    nearness: Floats,
    scale: np.float32,
    above: IntArray,
    below: IntArray,
    left: IntArray,
    kind: IntArray,
    tall: int,
    out: Labels,
) -> None:
    """Write the labels that change to `out`; for the first arguments see `votes.compete`.

    `kind` (W,) and `nearness` are those of `votes._kinds`, and `scale` is the factor of `_weigh`.
    ``rows[above:below]`` are the rows of voters around each row of pixels, and `left` (W,) is the
    first column of voters around each column; there are at most `tall` rows for a pixel.
    """
    trees, height, width = labels.shape
    window = (nearness.shape[2] * tall + CHUNK - 1) // CHUNK * CHUNK
    shades = np.zeros((3, len(columns) * tall + window), dtype=np.float32)
    names = np.zeros((trees, shades.shape[1]), dtype=np.int32)
    falloff = np.zeros((len(nearness), window), dtype=np.float32)
    weight = np.zeros(window, dtype=np.int32)
    tried = np.empty(window + 1, dtype=np.int32)
    for y in range(height):
        top, bottom = int(above[y]), int(below[y])
        for v in range(below[y - 1] if y > 0 else 0, bottom):
            _replace(labels, colours, rows[v], columns, v % tall, tall, shades, names)
        _arrange(nearness, rows, y, top, bottom, tall, falloff)
        for x in range(width):
            some = False
            for t in range(trees):
                some |= near[t, y, x]
            if not some:
                continue
            begin = np.uint64(left[x] * tall)
            total = _weigh(shades, begin, colours, y, x, falloff, kind[x], scale, weight)
            for t in range(trees):
                own = labels[t, y, x]
                mine = _tally(names, t, begin, own, weight) if near[t, y, x] else total
                if 2 * mine < total:
                    out[t, y, x] = _winner(
                        names, t, begin, top, bottom, tall, own, mine, total, weight, tried
                    )


@kernel()
def _replace(
    labels: Labels,
    colours: Floats,
    row: int,
    columns: IntArray,
    place: int,
    tall: int,
    shades: Floats,
    names: Labels,
) -> None:
    """Replace the voters at a place in all columns by those in a row of pixels."""
    for k in range(len(columns)):
        for c in range(3):
            shades[c, k * tall + place] = colours[row, columns[k], c]
        for t in range(len(labels)):
            names[t, k * tall + place] = labels[t, row, columns[k]]


@kernel()
def _arrange(
    nearness: Floats, rows: IntArray, y: int, top: int, bottom: int, tall: int, falloff: Floats
) -> None:
    """Write `nearness`, (K, R + 1, lanes), in the order of windows for row y to (K, window)."""
    for v in range(bottom - tall, bottom):
        for kind in range(len(nearness)):
            for lane in range(nearness.shape[2]):
                value = nearness[kind, abs(rows[v] - y), lane] if v >= top else 0.0
                falloff[kind, lane * tall + v % tall] = value


@kernel()
def _weigh(
    shades: Floats,
    begin: np.uint64,
    colours: Floats,
    y: int,
    x: int,
    falloff: Floats,
    kind: int,
    scale: np.float32,
    weight: Labels,
) -> int:
    """Write the weights of the votes of a window for pixel (y, x); return their sum.

    The weight by colour is (1 - scale * d) to the power of 64, d the squared distance: nearly a
    Gaussian, but made of operations that are exact on all machines and fit vector instructions.
    """
    one, nothing, total = np.float32(1.0), np.float32(0.0), np.int32(0)
    a, b, c = colours[y, x, 0], colours[y, x, 1], colours[y, x, 2]
    for k in range(np.uint64(len(weight))):
        da, db = shades[0, begin + k] - a, shades[1, begin + k] - b
        dc = shades[2, begin + k] - c
        close = one - (da * da + db * db + dc * dc) * scale
        close = close if close > nothing else nothing
        for _ in range(6):
            close = close * close
        vote = np.int32(close * falloff[kind, k])
        weight[k] = vote
        total = np.int32(total + vote)
    return int(total)


@kernel()
def _tally(names: Labels, tree: int, begin: np.uint64, name: np.int32, weight: Labels) -> int:
    """Sum of the votes for label `name` in a window."""
    votes = np.int32(0)
    for k in range(np.uint64(len(weight))):
        votes = np.int32(votes + (weight[k] if names[tree, begin + k] == name else np.int32(0)))
    return int(votes)


@kernel()
def _winner(
    names: Labels,
    tree: int,
    begin: np.uint64,
    above: int,
    below: int,
    tall: int,
    own: np.int32,
    mine: int,
    total: int,
    weight: Labels,
    tried: Labels,
) -> np.int32:
    """Return the label with the most of `total` votes, of which `mine` are for `own`.

    Labels are counted in the order of the window, from row `above` to `below`, until those left
    cannot win. `tried` is working memory.
    """
    name, most, rest, count = own, mine, total - mine, 1
    tried[0] = own
    for v in range(above, below):
        for place in range(v % tall, len(weight), tall):
            k = np.uint64(place)
            new = names[tree, begin + k]
            if new == tried[count - 1] or weight[k] == 0:
                continue
            known = 0
            while known < count and tried[known] != new:
                known += 1
            if known < count:
                continue
            tried[count] = new
            count += 1
            votes = _tally(names, tree, begin, new, weight)
            if votes > most:
                name, most = new, votes
            rest -= votes
            if rest <= most:
                return name
    return name
