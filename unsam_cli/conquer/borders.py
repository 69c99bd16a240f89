"""Length of the borders of clusters, and colour contrast across them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unsam_cli.conquer.smoothing import reach, smooth
from unsam_cli.jit import kernel
from unsam_cli.sampling import between, means

IntArray = NDArray[np.int64]
Floats = NDArray[np.float32]
FloatArray = NDArray[np.float64]
Labels = NDArray[np.int32]

SMOOTHING = 2.0
"""Standard deviation of the Gaussian that smooths the colours, in pixels."""
GAP = 2
"""Distance in pixels from an edge to the colours that are compared on its two sides."""
MARGIN = reach(SMOOTHING) + GAP
"""Distance in pixels from an edge to the colours that do not matter to its contrast."""
USUAL = 5.0
"""Typical contrast of a border between objects, in units of CIELAB."""
SEEN = 1.0
"""Least contrast of a border that counts as visible, in units of CIELAB."""


@dataclass(frozen=True)
class Contrast:
    """Difference of colour across every edge between two pixels, in units of CIELAB.

    Attributes
    ----------
    across : (H, W + 1) float32
        ``across[y, x]`` is the contrast at the left edge of pixel x; -1 on the image border.
    down : (H + 1, W) float32
        ``down[y, x]`` is the contrast at the upper edge of pixel y; -1 on the image border.
    """

    across: Floats
    down: Floats

    def window(self, rows: slice, columns: slice) -> Contrast:
        """Return the edges of the pixels of a rectangle, including those around it."""
        return Contrast(
            self.across[rows, columns.start : columns.stop + 1],
            self.down[rows.start : rows.stop + 1, columns],
        )


def contrast_of(colours: Floats) -> Contrast:
    """Measure the contrast at every edge between pixels, (H, W, 3) float32 in CIELAB."""
    height, width, _ = colours.shape
    across: Floats = np.full((height, width + 1), -1, dtype=np.float32)
    down: Floats = np.full((height + 1, width), -1, dtype=np.float32)
    _compare(smooth(colours, SMOOTHING), across, down)
    return Contrast(across, down)


@kernel()
def _compare(soft: Floats, across: Floats, down: Floats) -> None:
    """Write the contrast at the edges inside a picture, (H, W, 3), see `Contrast`."""
    height, width, _ = soft.shape
    for y in range(height):
        for x in range(1, width):
            across[y, x] = _distance(soft, y, max(x - GAP, 0), y, min(x + GAP, width) - 1)
    for y in range(1, height):
        for x in range(width):
            down[y, x] = _distance(soft, max(y - GAP, 0), x, min(y + GAP, height) - 1, x)


@kernel()
def _distance(soft: Floats, y: int, x: int, v: int, u: int) -> np.float32:
    """Distance of the colours of pixels (y, x) and (v, u)."""
    total = np.float32(0.0)
    for c in range(3):
        difference = soft[v, u, c] - soft[y, x, c]
        total += difference * difference
    distance: np.float32 = np.sqrt(total)
    return distance


def no_contrast(height: int, width: int) -> Contrast:
    """Return the contrast to use without a picture: all edges are equal and typical."""
    return Contrast(
        np.full((height, width + 1), USUAL, dtype=np.float32),
        np.full((height + 1, width), USUAL, dtype=np.float32),
    )


def sharpness_of_edges(contrast: Contrast, h: int, w: int) -> FloatArray:
    """Compare the contrast between neighbouring patches with a typical one.

    Parameters
    ----------
    contrast : Contrast
        Contrast in the rectangle that the patches cover.
    h, w : int
        Rows and columns of patches.

    Returns
    -------
    (M,) float64
        For every edge of `grid_edges`: ``(1 + c) / (1 + USUAL)``, where c is the mean contrast
        along the side that two patches share.
    """
    rows = np.linspace(0, contrast.across.shape[0], h + 1)[1:-1]
    columns = np.linspace(0, contrast.down.shape[1], w + 1)[1:-1]
    across = means(between(np.maximum(contrast.across, 0).T, columns).T, h)
    down = means(between(np.maximum(contrast.down, 0), rows).T, w).T
    return (1.0 + np.concatenate([across.ravel(), down.ravel()])) / (1.0 + USUAL)


def measure(
    labels: Labels, end: IntArray, up: IntArray, contrast: Contrast
) -> tuple[IntArray, IntArray, FloatArray, FloatArray, FloatArray]:
    """Measure area and border of all clusters of a partition.

    Parameters
    ----------
    labels : (h, w) int32
        Cell of each pixel, numbered as in :class:`unsam_cli.conquer.levels.Partition`.
    end, up : (K + 1,) int64
        Ends of the clusters and the clusters around them, as in the same class.
    contrast : Contrast
        Contrast in the same rectangle of (h, w) pixels.

    Returns
    -------
    area : (K,) int64
        Area in pixels.
    length : (K,) int64
        Number of edges between a pixel of the cluster and one outside. Edges on the image border
        do not count.
    mean : (K,) float64
        Mean contrast of these edges; 0 if there are none.
    cut : (K,) float64
        Fraction of these edges that lie on the sides of the rectangle.
    blank : (K,) float64
        Fraction of these edges with a contrast below `SEEN`.
    """
    count = len(up)
    before = np.concatenate([[0], np.bincount(labels.ravel(), minlength=count).cumsum()])
    area: IntArray = before[end] - before[:count]
    length = np.zeros(count, dtype=np.int64)
    sums = np.zeros((count, 3))
    # Contiguous, so that the kernel is not compiled for views, too.
    across, down = np.ascontiguousarray(contrast.across), np.ascontiguousarray(contrast.down)
    _walk(labels, end, up, across, down, length, sums)
    mean, cut, blank = sums[1:].T / np.maximum(length[1:], 1)
    return area[1:], length[1:], mean, cut, blank


@kernel()
def _walk(
    labels: Labels,
    end: IntArray,
    up: IntArray,
    across: Floats,
    down: Floats,
    length: IntArray,
    sums: FloatArray,
) -> None:
    """Add every edge between two cells to the clusters that contain only one of them.

    `labels` (h, w), `end` and `up` (K + 1,) are those of `measure`; `across` (h, w + 1) and `down`
    (h + 1, w) are those of `Contrast`. The sums of each cluster are increased in place: `length`
    (K + 1,) by the number of edges, and `sums` (K + 1, 3) by their contrast, by those on a side of
    the rectangle and by those below `SEEN`.
    """
    height, width = labels.shape
    for y in range(height):
        for x in range(width + 1):
            a = labels[y, x - 1] if x > 0 else 0
            b = labels[y, x] if x < width else 0
            side = x == 0 or x == width
            _add(a, b, across[y, x], side, end, up, length, sums)
    for y in range(height + 1):
        for x in range(width):
            a = labels[y - 1, x] if y > 0 else 0
            b = labels[y, x] if y < height else 0
            side = y == 0 or y == height
            _add(a, b, down[y, x], side, end, up, length, sums)


@kernel()
def _add(
    a: int,
    b: int,
    value: float,
    side: bool,
    end: IntArray,
    up: IntArray,
    length: IntArray,
    sums: FloatArray,
) -> None:
    """Add one edge between cells a and b.

    `value` is its contrast, negative on the image border; `side` says whether it lies on a side of
    the rectangle. The arrays are those of `_walk`.
    """
    if a == b or value < 0:
        return
    while a > 0 and not a <= b < end[a]:
        length[a] += 1
        sums[a, 0] += value
        sums[a, 1] += side
        sums[a, 2] += value < SEEN
        a = up[a]
    while b > 0 and not b <= a < end[b]:  # a now contains both cells, which gives the same test
        length[b] += 1
        sums[b, 0] += value
        sums[b, 1] += side
        sums[b, 2] += value < SEEN
        b = up[b]
