"""Pieces and holes of masks, on their runs, without decoding: the small ones are removed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unsam_cli.jit import kernel
from unsam_cli.rle.runs import IntArray, Rle, from_runs, text_of, to_runs


def tidy(rle: Rle, smallest: int) -> Rle:
    """Fill holes and remove islands that are too small.

    Holes and islands are connected components with eight neighbours per pixel. Background at the
    border of the image also counts as a hole. If all islands are too small, the largest is kept.

    Parameters
    ----------
    rle : Rle
        The mask.
    smallest : int
        Minimum area of the holes and islands that are left, in pixels.

    Returns
    -------
    Rle
        The same object if nothing changes.

    Raises
    ------
    ValueError
        If the RLE is malformed.
    """
    _, height, width = text_of(rle)
    runs = to_runs(rle)
    holes = _segments(_complement(runs, height * width), height)
    small = _areas(holes, height) < smallest
    if small.any():
        runs = _sorted(np.concatenate([runs, holes[small]]))
    islands = _segments(runs, height)
    sizes = _areas(islands, height)
    kept = sizes >= smallest
    if len(sizes) and not kept.any():
        labels = _label(islands, height, 0)
        kept = labels == labels[sizes.argmax()]
    if kept.all():
        return from_runs(runs, (height, width)) if small.any() else rle
    return from_runs(islands[kept], (height, width))


def _complement(runs: IntArray, pixels: int) -> IntArray:
    edges = np.concatenate(([0], runs.ravel(), [pixels]))
    return edges.reshape(-1, 2)


def _sorted(runs: IntArray) -> IntArray:
    """Sort disjoint runs and join those that touch."""
    runs = runs[runs[:, 0].argsort()]
    begins = np.append(True, runs[1:, 0] > runs[:-1, 1])
    return np.stack((runs[begins, 0], runs[np.append(begins[1:], True), 1]), axis=1)


def _areas(segments: IntArray, height: int) -> IntArray:
    """Return the area, in pixels, of the component that each segment belongs to."""
    labels = _label(segments, height, 0)
    sums = np.bincount(labels, segments[:, 1] - segments[:, 0], minlength=len(segments))
    return np.asarray(sums[labels], dtype=np.int64)


@kernel()
def _segments(runs: IntArray, height: int) -> IntArray:
    """Split runs at the ends of columns, and drop empty ones."""
    count = 0
    for index in range(len(runs)):
        if runs[index, 0] < runs[index, 1]:
            count += (runs[index, 1] - 1) // height - runs[index, 0] // height + 1
    segments = np.empty((count, 2), dtype=np.int64)
    at = 0
    for index in range(len(runs)):
        start, end = runs[index, 0], runs[index, 1]
        while start < end:
            segments[at, 0] = start
            start = min(end, (start // height + 1) * height)
            segments[at, 1] = start
            at += 1
    return segments


def piece_of(rle: Rle, pixels: IntArray) -> IntArray:
    """Tell the 4-connected pieces of a mask apart.

    Parameters
    ----------
    rle : Rle
        The mask.
    pixels : (n, 2) int64
        Row and column of pixels of the mask.

    Returns
    -------
    (n,) int64
        A number for each pixel, equal for pixels of one piece.

    Raises
    ------
    ValueError
        If the RLE is malformed.
    """
    _, height, _ = text_of(rle)
    segments = _segments(to_runs(rle), height)
    places = pixels[:, 1] * height + pixels[:, 0]
    at = np.searchsorted(segments[:, 0], places, side="right") - 1
    return np.asarray(_label(segments, height, 1)[at], dtype=np.int64)


@kernel()
def _label(segments: IntArray, height: int, shared: int) -> IntArray:
    """Return, for each segment of a column, the index of the first one of its component.

    Segments of neighbouring columns are of one component if they have `shared` rows or more in
    common; with 0 they may also touch at a corner.
    """
    parent = np.arange(len(segments))
    before = 0  # the first segment of the column before that may still touch
    for index in range(len(segments)):
        start, end = segments[index, 0] - height + shared, segments[index, 1] - height - shared
        column = segments[index, 0] // height - 1
        while segments[before, 0] // height < column or (
            segments[before, 0] // height == column and segments[before, 1] < start
        ):
            before += 1
        other = before
        while segments[other, 0] // height == column and segments[other, 0] <= end:
            a, b = _root(parent, index), _root(parent, other)
            parent[max(a, b)] = min(a, b)
            other += 1
    for index in range(len(segments)):
        parent[index] = _root(parent, index)
    return parent


@kernel()
def _root(parent: NDArray[np.int64], index: int) -> int:
    while parent[index] != index:
        parent[index] = parent[parent[index]]
        index = parent[index]
    return index
