"""Length of the borders of clusters, and colour contrast across them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from unsam_cli.colour import rgb_to_lab
from unsam_cli.jit import kernel
from unsam_cli.sampling import between, means

IntArray = NDArray[np.int64]
Floats = NDArray[np.float32]
FloatArray = NDArray[np.float64]
Labels = NDArray[np.int32]

SMOOTHING = 2.0
"""Standard deviation of the Gaussian that colours are averaged with, pixels."""
GAP = 2
"""Pixels from an edge to where colours are compared on its two sides."""
USUAL = 5.0
"""Contrast of a usual border between objects, in units of CIELAB."""
SEEN = 1.0
"""Least contrast of a border that is seen at all."""


@dataclass(frozen=True)
class Contrast:
    """Difference of colour across every edge between two pixels, in units of CIELAB.

    Attributes
    ----------
    across : (H, W + 1) float32
        ``across[y, x]`` is the edge to the left of pixel x; -1 on the border of the image.
    down : (H + 1, W) float32
        ``down[y, x]`` is the edge above pixel y; -1 on the border of the image.
    """

    across: Floats
    down: Floats

    def window(self, rows: slice, columns: slice) -> Contrast:
        """Edges of the pixels of a rectangle, those around it included."""
        return Contrast(
            self.across[rows, columns.start : columns.stop + 1],
            self.down[rows.start : rows.stop + 1, columns],
        )


def contrast_of(picture: NDArray[np.uint8]) -> Contrast:
    """Compare the colours on both sides of every edge of a picture, (H, W, 3) uint8."""
    height, width, _ = picture.shape
    smooth = gaussian_filter(rgb_to_lab(picture), (SMOOTHING, SMOOTHING, 0), mode="nearest")
    across: Floats = np.full((height, width + 1), -1, dtype=np.float32)
    down: Floats = np.full((height + 1, width), -1, dtype=np.float32)
    before, after = _sides(width)
    across[:, 1:-1] = np.linalg.norm(smooth[:, after] - smooth[:, before], axis=2)
    before, after = _sides(height)
    down[1:-1] = np.linalg.norm(smooth[after] - smooth[before], axis=2)
    return Contrast(across, down)


def _sides(length: int) -> tuple[IntArray, IntArray]:
    """Pixels compared for the edges before pixels 1, 2, ..., kept inside the picture."""
    edges = np.arange(1, length)
    return np.maximum(edges - GAP, 0), np.minimum(edges + GAP - 1, length - 1)


def no_contrast(height: int, width: int) -> Contrast:
    """Where there is no picture: all edges alike, as usual ones."""
    return Contrast(
        np.full((height, width + 1), USUAL, dtype=np.float32),
        np.full((height + 1, width), USUAL, dtype=np.float32),
    )


def sharpness_of_edges(contrast: Contrast, h: int, w: int) -> FloatArray:
    """Compare the contrast between neighbouring patches with a usual one.

    Parameters
    ----------
    contrast : Contrast
        Of the rectangle that the patches cover.
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
    """Measure all clusters of a partition.

    Parameters
    ----------
    labels : (h, w) int32
        Cell of each pixel, numbered as in `Cells`.
    end, up : (K + 1,) int64
        As in `Cells`.
    contrast : Contrast
        Of the same rectangle of (h, w) pixels.

    Returns
    -------
    area : (K,) int64
        Pixels.
    length : (K,) int64
        Edges between a pixel of the cluster and one outside; the border of the image has none.
    mean : (K,) float64
        Mean contrast of those edges; 0 where there are none.
    cut : (K,) float64
        Fraction of those edges that lie on the sides of the rectangle.
    blank : (K,) float64
        Fraction of those edges with a contrast under `SEEN`.
    """
    count = len(up)
    before = np.concatenate([[0], np.bincount(labels.ravel(), minlength=count).cumsum()])
    area: IntArray = before[end] - before[:count]
    length = np.zeros(count, dtype=np.int64)
    sums = np.zeros((count, 3))
    _walk(labels, end, up, contrast.across, contrast.down, length, sums)
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
    """Add every edge between two cells to the clusters that hold one of them."""
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
    if a == b or value < 0:
        return
    while a > 0 and not a <= b < end[a]:
        length[a] += 1
        sums[a, 0] += value
        sums[a, 1] += side
        sums[a, 2] += value < SEEN
        a = up[a]
    while b > 0 and not b <= a < end[b]:  # a is now what holds both, which does as well
        length[b] += 1
        sums[b, 0] += value
        sums[b, 1] += side
        sums[b, 2] += value < SEEN
        b = up[b]
