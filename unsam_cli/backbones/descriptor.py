"""Compiled parts of the built-in descriptor: smoothing, energies, random Fourier features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unsam_cli.jit import kernel

Floats = NDArray[np.float32]

ORIENTATIONS = 4


def gaussian(sigma: float) -> Floats:
    """Return the weights of a Gaussian from its centre outwards, (k,) float32.

    `sigma` is in pixels; the weights reach to 3 sigma and sum to 1 over both sides.
    """
    half = np.exp(-0.5 * (np.arange(int(3 * sigma + 0.5) + 1) / sigma) ** 2)
    return np.asarray(half / (2 * half.sum() - half[0]), dtype=np.float32)


@kernel(fastmath=True)
def blur(plane: Floats, weights: Floats) -> Floats:
    """Apply a separable symmetric filter to an image.

    `plane` is (H, W) float32, `weights` are from the centre outwards. The border is replicated.
    """
    height, width = plane.shape
    across = np.empty((height, width), dtype=np.float32)
    reach = len(weights) - 1
    padded = np.empty(width + 2 * reach, dtype=np.float32)
    for y in range(height):
        for x in range(len(padded)):
            padded[x] = plane[y, min(max(x - reach, 0), width - 1)]
        for x in range(width):
            across[y, x] = weights[0] * padded[x + reach]
        for k in range(1, reach + 1):
            for x in range(width):
                across[y, x] += weights[k] * (padded[x + reach - k] + padded[x + reach + k])
    out = np.empty((height, width), dtype=np.float32)
    for y in range(height):
        for x in range(width):
            out[y, x] = weights[0] * across[y, x]
        for k in range(1, reach + 1):
            above, below = max(0, y - k), min(height - 1, y + k)
            for x in range(width):
                out[y, x] += weights[k] * (across[above, x] + across[below, x])
    return out


@kernel(fastmath=True)
def oriented_energy(plane: Floats) -> Floats:
    """Compute the magnitude of the derivative of an image along 0, 45, 90 and 135 degrees.

    `plane` is (H, W) float32; returns (4, H, W) float32, per pixel. The border is replicated.
    """
    height, width = plane.shape
    out = np.empty((ORIENTATIONS, height, width), dtype=np.float32)
    diagonal = np.float32(np.sqrt(0.5))
    half = np.float32(0.5)
    for y in range(height):
        above, below = plane[max(0, y - 1)], plane[min(height - 1, y + 1)]
        for x in range(width):
            dx = half * (plane[y, min(width - 1, x + 1)] - plane[y, max(0, x - 1)])
            dy = half * (below[x] - above[x])
            out[0, y, x] = abs(dx)
            out[1, y, x] = abs(dx + dy) * diagonal
            out[2, y, x] = abs(dy)
            out[3, y, x] = abs(dx - dy) * diagonal
    return out


def _fit(function: np.ufunc, powers: NDArray[np.int64]) -> Floats:
    """Fit a polynomial in turns, on [-1/2, 1/2], to a function of the angle; error below 1e-5."""
    turns = 0.5 * np.cos(np.pi * (np.arange(200) + 0.5) / 200)
    terms = turns[:, None] ** powers
    solution = np.linalg.lstsq(terms, function(2 * np.pi * turns), rcond=None)[0]
    return np.asarray(solution, dtype=np.float32)


SINE = _fit(np.sin, np.arange(1, 13, 2))
COSINE = _fit(np.cos, np.arange(0, 14, 2))


@kernel(fastmath=True)
def mean_embedding(
    planes: Floats, frequencies: Floats, patch: int, sine: Floats, cosine: Floats, out: Floats
) -> None:
    """Compute the mean over each patch of the cosines and sines of its pixels' projections.

    Parameters
    ----------
    planes : (D, H, W) float32
        Description of every pixel.
    frequencies : (D, F) float32
        Random frequencies, in turns per unit of `planes`.
    patch : int
        Side of a patch, in pixels.
    sine, cosine : (6,) and (7,) float32
        Coefficients of the odd polynomial of the sine and the even one of the cosine, in turns.
    out : (H / patch, W / patch, 2 F) float32
        Result: F cosines, then F sines.
    """
    depth, _, _ = planes.shape
    rows, columns, _ = out.shape
    count = frequencies.shape[1]
    share = np.float32(1.0 / (patch * patch))
    turn = np.empty(count, dtype=np.float32)
    sums = np.empty((2, count), dtype=np.float32)
    for row in range(rows):
        for column in range(columns):
            sums[:] = 0.0
            for y in range(row * patch, (row + 1) * patch):
                for x in range(column * patch, (column + 1) * patch):
                    turn[:] = 0.0
                    for d in range(depth):
                        value = planes[d, y, x]
                        for k in range(count):
                            turn[k] += value * frequencies[d, k]
                    for k in range(count):
                        t = turn[k] - np.floor(turn[k] + np.float32(0.5))
                        u = t * t
                        s = sine[5]
                        c = cosine[6]
                        c = c * u + cosine[5]
                        for p in range(4, -1, -1):
                            s = s * u + sine[p]
                            c = c * u + cosine[p]
                        sums[0, k] += c
                        sums[1, k] += s * t
            for k in range(count):
                out[row, column, k] = sums[0, k] * share
                out[row, column, count + k] = sums[1, k] * share
