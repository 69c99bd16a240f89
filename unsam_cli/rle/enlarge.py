"""From small maps to the runs of large masks: enlarged, cut at 0, never held in full.

Equal to doing so with torch on a CPU, bit for bit, but without arrays of these sizes.
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
    """Masks cut out of enlarged maps.

    Attributes
    ----------
    offsets : (n + 1,) int64
        The runs of map i are rows ``offsets[i]:offsets[i + 1]``.
    runs : (R, 2) int64
        Start and end (exclusive) of the positive pixels, as column-major indices.
    inner, outer : (n,) int64
        Pixels over the offset, and over minus the offset; zeros without an offset.
    sums : (n,) float64
        Of the sigmoids of positive pixels; zeros if not asked for.
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
    """Resize maps and cut them at 0.

    Parameters
    ----------
    maps : (n, h, w) float32
        Values, such as logits; or with factors features, (C, h, w). Not copied where columns are
        contiguous.
    rows, columns : Axis
        From h to H, and from w to W.
    factors : Factors, optional
        What features are multiplied with to get values, and where these are needed.
    offset : float
        If not 0, pixels above it and above minus it are counted.
    summed : bool
        Sum the sigmoids of positive pixels.
    origin, stride : int
        Index of the first pixel, and of one column to the next: where the map is a window of a
        larger image. By default 0 and H.
    """
    flipped = np.ascontiguousarray(maps.transpose(0, 2, 1), dtype=np.float32)
    place = origin, len(rows.low) if stride is None else stride
    return Enlarged(*trace(flipped, factors, rows, columns, place, np.float32(offset), summed))
