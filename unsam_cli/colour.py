"""From sRGB to CIELAB, in which distances are roughly what the eye sees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unsam_cli.jit import kernel

_LEVELS = np.arange(256) / 255
_LINEAR = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4)
# Linear sRGB to XYZ relative to the white point D65: rows sum to 1, so grey has a = b = 0.
_TO_XYZ = np.array(
    [
        [0.412453 / 0.950456, 0.357580 / 0.950456, 0.180423 / 0.950456],
        [0.212671, 0.715160, 0.072169],
        [0.019334 / 1.088754, 0.119193 / 1.088754, 0.950227 / 1.088754],
    ]
)
_STEPS = 4096  # of the tabulated cube root; interpolated, the error is under 0.01 in L, a and b
_RATIO = np.arange(_STEPS + 2) / _STEPS
_ROOT = np.where(_RATIO > (6 / 29) ** 3, np.cbrt(_RATIO), _RATIO * (29 / 6) ** 2 / 3 + 4 / 29)


@kernel()
def _convert(
    pixels: NDArray[np.uint8],
    linear: NDArray[np.float64],
    matrix: NDArray[np.float64],
    root: NDArray[np.float64],
    out: NDArray[np.float32],
) -> None:
    steps = len(root) - 2
    f = np.empty(3)
    for i in range(len(pixels)):
        r, g, b = linear[pixels[i, 0]], linear[pixels[i, 1]], linear[pixels[i, 2]]
        for k in range(3):
            at = (matrix[k, 0] * r + matrix[k, 1] * g + matrix[k, 2] * b) * steps
            low = min(int(at), steps)
            f[k] = root[low] + (at - low) * (root[low + 1] - root[low])
        out[i, 0] = 116.0 * f[1] - 16.0
        out[i, 1] = 500.0 * (f[0] - f[1])
        out[i, 2] = 200.0 * (f[1] - f[2])


def rgb_to_lab(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Convert sRGB to CIELAB under D65.

    Parameters
    ----------
    rgb : (..., 3) uint8
        Red, green and blue, gamma-encoded.

    Returns
    -------
    (..., 3) float32
        L in 0..100, a and b about -100..100.

    References
    ----------
    CIE 15:2004; IEC 61966-2-1 (sRGB).
    """
    pixels = np.ascontiguousarray(rgb, dtype=np.uint8).reshape(-1, 3)
    out = np.empty(pixels.shape, dtype=np.float32)
    _convert(pixels, _LINEAR, _TO_XYZ, _ROOT, out)
    return out.reshape(rgb.shape)
