"""Small work on the arrays of :mod:`unsam_cli.rle._enlarge_kernels`, quick to compile."""

from __future__ import annotations

from typing import Any

import numpy as np

from unsam_cli.jit import kernel
from unsam_cli.rle.runs import IntArray

Int = Any  # int or np.int64


@kernel()
def clear(top: IntArray, bottom: IntArray, begin: Int, end: Int, h: Int) -> None:
    """Say that the columns from `begin` to `end` have no positive logit among their h."""
    for x in range(begin, end):
        top[x], bottom[x] = h, -1


@kernel()
def bisect(ascending: IntArray, value: Int) -> int:
    """Return the index of the first number that is not below `value`."""
    begin, end = 0, len(ascending)
    while begin < end:
        middle = (begin + end) // 2
        if ascending[middle] < value:
            begin = middle + 1
        else:
            end = middle
    return begin


@kernel()
def grown(runs: IntArray) -> IntArray:
    """Return a copy with room for twice as many runs."""
    more = np.empty((2 * len(runs), 2), np.int64)
    for row in range(len(runs)):
        more[row, 0], more[row, 1] = runs[row, 0], runs[row, 1]
    return more
