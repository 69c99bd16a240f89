"""Compiled walks over merge trees and the partitions they induce."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unsam_cli.jit import kernel

IntArray = NDArray[np.int64]


@kernel()
def owners(children: IntArray, leaves: int) -> IntArray:
    """Cluster of each of the leaves after the merges `children`, (M, 2): (leaves,) int64."""
    owner = np.arange(leaves + len(children))
    for merge in range(len(children) - 1, -1, -1):  # parents come after their children
        owner[children[merge, 0]] = owner[leaves + merge]
        owner[children[merge, 1]] = owner[leaves + merge]
    return owner[:leaves]


@kernel()
def sums(children: IntArray, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of the leaves' `values`, (leaves,), in every cluster: (leaves + M,) float64."""
    leaves = len(values)
    total = np.empty(leaves + len(children), dtype=np.float64)
    for leaf in range(leaves):
        total[leaf] = values[leaf]
    for merge in range(len(children)):
        total[leaves + merge] = total[children[merge, 0]] + total[children[merge, 1]]
    return total


@kernel()
def first_places(children: IntArray, size: IntArray, parent: IntArray) -> IntArray:
    """First place of every cluster in an order of leaves in which clusters are contiguous.

    `children` is (M, 2); `size`, `parent` (-1 for roots) and the result are (leaves + M,) int64.
    """
    first = np.zeros(len(size), dtype=np.int64)
    leaves = len(size) - len(children)
    used = 0
    for node in range(len(size)):
        if parent[node] < 0:
            first[node] = used
            used += size[node]
    for merge in range(len(children) - 1, -1, -1):
        low, high = children[merge, 0], children[merge, 1]
        first[low] = first[leaves + merge]
        first[high] = first[low] + size[low]
    return first


@kernel()
def number_cells(
    begin: IntArray, stop: IntArray, position: IntArray
) -> tuple[NDArray[np.int32], IntArray, IntArray]:
    """Assign numbers to the cells of K nested intervals, which are given in pre-order.

    Interval k covers the places ``begin[k]:stop[k]``, and `position` is the place of each leaf.
    Return `label`, `end` and `up` of :class:`unsam_cli.conquer.levels.Partition`.
    """
    count = len(begin)
    place = np.zeros(len(position), dtype=np.int32)
    end = np.full(count + 1, count + 1, dtype=np.int64)
    up = np.zeros(count + 1, dtype=np.int64)
    up[0] = -1
    around = 0
    for k in range(1, count + 1):
        while around > 0 and stop[around - 1] <= begin[k - 1]:
            end[around] = k
            around = up[around]
        up[k] = around
        around = k
        place[begin[k - 1] : stop[k - 1]] = k
    label = np.empty(len(position), dtype=np.int32)
    for leaf in range(len(position)):
        label[leaf] = place[position[leaf]]
    return label, end, up


@kernel()
def some_cells(up: IntArray, chosen: NDArray[np.bool_]) -> tuple[NDArray[np.int32], IntArray]:
    """Assign new numbers to cells when only some of K nested clusters stay.

    `up` (K + 1,) is that of :class:`unsam_cli.conquer.levels.Partition`, `chosen` is (K,). Return
    the new number of each old cell, (K + 1,), which joins the smallest chosen cluster around it,
    and the new `up`.
    """
    number = np.zeros(len(up), dtype=np.int32)
    around = np.full(len(up), -1, dtype=np.int64)
    count = 0
    for k in range(1, len(up)):
        number[k] = number[up[k]]
        if chosen[k - 1]:
            count += 1
            around[count] = number[up[k]]
            number[k] = count
    return number, around[: count + 1].copy()
