"""Smooth the colours of a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unsam_cli.jit import kernel

Floats = NDArray[np.float32]
FloatArray = NDArray[np.float64]

_WIDTHS = 4  # standard deviations at which the Gaussian ends


def reach(deviation: float) -> int:
    """Return how far a pixel is smoothed, in pixels, for the deviation of :func:`smooth`."""
    return int(_WIDTHS * deviation + 0.5)


def smooth(colours: Floats, deviation: float) -> Floats:
    """Smooth rows and columns with a Gaussian; the border pixels go on outside.

    Parameters
    ----------
    colours : (H, W, C) float32
        The picture.
    deviation : float
        Standard deviation, in pixels.

    Returns
    -------
    (H, W, C) float32
        What ``scipy.ndimage.gaussian_filter(colours, (deviation, deviation, 0), mode="nearest")``
        returns, bit by bit. To import that takes longer than to smooth a photograph.
    """
    height, _, channels = colours.shape
    far = reach(deviation)
    weights = np.exp(-0.5 / deviation**2 * np.arange(-far, far + 1) ** 2)
    weights = (weights / weights.sum())[far:]
    rows = np.ascontiguousarray(colours, dtype=np.float32).reshape(height, -1)
    out = np.empty_like(rows)
    _smooth(rows, weights, channels, out)
    return out.reshape(colours.shape)


@kernel()
def _smooth(rows: Floats, weights: FloatArray, channels: int, out: Floats) -> None:
    """Smooth (H, W * C) float32, down and then across; `weights` begin with that of the centre."""
    height, width = rows.shape
    far, last = len(weights) - 1, width - channels
    margin = far * channels
    total = np.empty(width, dtype=np.float64)
    padded = np.empty(width + 2 * margin, dtype=np.float64)
    for y in range(height):
        for x in range(width):
            total[x] = weights[0] * rows[y, x]
        for k in range(far, 0, -1):
            above, below = rows[max(y - k, 0)], rows[min(y + k, height - 1)]
            for x in range(width):
                total[x] += (np.float64(above[x]) + np.float64(below[x])) * weights[k]
        for x in range(width):  # rounded, as what is kept between the two directions
            padded[margin + x] = np.float32(total[x])
            total[x] = weights[0] * padded[margin + x]
        for x in range(margin):
            padded[x] = padded[margin + x % channels]
            padded[margin + width + x] = padded[margin + last + x % channels]
        for k in range(far, 0, -1):
            left, right = padded[margin - k * channels :], padded[margin + k * channels :]
            for x in range(width):
                total[x] += (left[x] + right[x]) * weights[k]
        for x in range(width):
            out[y, x] = total[x]
