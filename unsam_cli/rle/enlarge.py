"""Enlarge small maps and threshold them at 0, directly to the runs of large masks.

The result is bit-identical to that of torch on a CPU, but needs no arrays of the large size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unsam_cli.rle._enlarge_kernels import trace
from unsam_cli.rle._factors import Factors
from unsam_cli.rle.axes import Axis
from unsam_cli.rle.runs import IntArray


@dataclass(frozen=True)
class Enlarged:
    """Masks of n enlarged maps.

    Attributes
    ----------
    offsets : (n + 1,) int64
        The runs of map i are rows ``offsets[i]:offsets[i + 1]``.
    runs : (R, 2) int64
        Start and end (exclusive) of the runs of positive pixels, as column-major indices.
    inner, outer : (n,) int64
        Number of pixels above the offset, and above minus the offset; zeros without an offset.
    sums : (n,) float64
        Sum of the sigmoids of the positive pixels of each map; zeros if not requested.
    """

    offsets: IntArray
    runs: IntArray
    inner: IntArray
    outer: IntArray
    sums: NDArray[np.float64]


def enlarge(
    maps: NDArray[np.float32],
    rows: Axis,
    columns: Axis,
    *,
    factors: Factors | None = None,
    offset: float = 0.0,
    summed: bool = False,
    origin: int = 0,
    stride: int | None = None,
) -> Enlarged:
    """Resize maps bilinearly and threshold them at 0.

    Parameters
    ----------
    maps : (n, h, w) float32
        Values, such as logits; with `factors`, features, (C, h, w). Not copied if columns are
        contiguous.
    rows, columns : Axis
        Resampling from h to H rows, and from w to W columns.
    factors : Factors, optional
        Embeddings whose products with the features are the values, and windows that bound them.
    offset : float
        If not 0, pixels above it and above minus it are counted.
    summed : bool
        Whether to sum the sigmoids of positive pixels.
    origin, stride : int
        If the map is a window of a larger image, the index of its first pixel, and the difference
        of the indices of adjacent columns. By default 0 and H.
    """
    flipped = np.ascontiguousarray(maps.transpose(0, 2, 1), dtype=np.float32)
    place = origin, len(rows.low) if stride is None else stride
    return Enlarged(*trace(flipped, factors, rows, columns, place, np.float32(offset), summed))
