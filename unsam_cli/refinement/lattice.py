"""A permutohedral lattice: sums of Gaussian filters over the pixels of one picture.

References
----------
A. Adams, J. Baek, A. Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice",
Eurographics 2010: elevation and simplex in section 3, splat, blur and slice in section 4.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unsam_cli.refinement._lattice_kernels import BITS, blur, neighbours, place

_TINY = 1e-20  # keeps the norm of a point without neighbours finite

Floats = NDArray[np.float32]
Features = NDArray[np.float64]


class Lattice:
    """The operator ``sum over k of w_k N_k^(-1/2) K_k N_k^(-1/2)`` for several Gaussian kernels.

    ``K_k[i, j] = exp(-|f_i - f_j|^2 / 2)`` for the features f of kernel k, and ``N_k`` is the
    diagonal of its row sums. It is approximated on the vertices of one lattice per kernel. The
    lattices depend only on the features, so they serve any number of inputs.

    Parameters
    ----------
    kernels : sequence of ((n, d) float64, float)
        Features of the n points in standard deviations, d at most 5, and the weight w of each
        kernel.

    Attributes
    ----------
    vertices, weights : (n, k) uint32, (n, k) float32
        Vertices around each point, of all kernels, and their weights: an input is multiplied by
        the weights when it is added to the vertices, and again when it is read from them.
    count : int
        Number of vertices. Arrays of their values have one more row, which is zero.
    starts : list of int
        Index of the first vertex of each kernel.
    near : list of (d + 1, m, 2) uint32
        For each kernel with m vertices, the two neighbours of every vertex along every axis;
        `count` stands for a neighbour that is no vertex.

    Raises
    ------
    ValueError
        The features are too far from zero for the keys of the vertices.
    """

    def __init__(self, kernels: Sequence[tuple[Features, float]]) -> None:
        placed = [place(features, _scale(features)) for features, _ in kernels]
        sizes = [len(keys) for _, _, keys, _ in placed]
        starts = np.cumsum([0, *sizes])
        self.count = int(starts[-1])
        self.starts: list[int] = starts[:-1].tolist()
        self.near = [
            neighbours(keys, slots, vertices.shape[1] - 1, start, self.count)
            for (vertices, _, keys, slots), start in zip(placed, self.starts, strict=True)
        ]
        self.vertices = np.concatenate(
            [v + np.uint32(start) for (v, *_), start in zip(placed, self.starts, strict=True)],
            axis=1,
        )
        factors = [
            self._norm(k, placed[k][1]) * np.sqrt(weight) for k, (_, weight) in enumerate(kernels)
        ]
        self.weights: Floats = np.concatenate(
            [p[1] * factor[:, None] for p, factor in zip(placed, factors, strict=True)],
            axis=1,
            dtype=np.float32,
        )

    def values(self, channels: int) -> Floats:
        """Return zeros for the vertices, (count + 1, channels) float32."""
        return np.zeros((self.count + 1, channels), np.float32)

    def smooth(self, values: Floats, spare: Floats) -> None:
        """Blur `values` (count + 1, channels) in place; `spare` is an array of the same kind."""
        for k in range(len(self.near)):
            self._smooth(k, values, spare)

    def _smooth(self, k: int, values: Floats, spare: Floats) -> None:
        start, near = self.starts[k], self.near[k]
        now, then = values, spare
        for axis in near:
            blur(now, then, axis, start)
            now, then = then, now
        if now is not values:
            end = start + near.shape[1]
            values[start:end] = spare[start:end]

    def _norm(self, k: int, weights: Floats) -> Floats:
        """Return the square root of alpha / N of every point.

        The blur multiplies the sum of its input by 1 / alpha for each point, see Adams 2010.
        """
        d = weights.shape[1] - 1
        alpha = 1 / (1 + 2.0**-d)
        begin = sum(near.shape[0] for near in self.near[:k])
        mine = self.vertices[:, begin : begin + d + 1]
        values = self.values(1)
        values[:-1, 0] = np.bincount(mine.ravel(), weights.ravel(), minlength=self.count)
        self._smooth(k, values, self.values(1))
        sums = alpha * (weights * values[mine, 0]).sum(axis=1)
        norm: Floats = np.sqrt(alpha / (sums + _TINY))
        return norm


def _scale(features: Features) -> Features:
    """Return the factor of each feature, so that the blur of the lattice has a variance of 1.

    Raises
    ------
    ValueError
        A vertex would have a coordinate that does not fit into its key.
    """
    d = features.shape[1]
    i = np.arange(d)
    scale: Features = np.sqrt(2 / 3) * (d + 1) / np.sqrt((i + 1) * (i + 2))
    most = np.abs(features).max(axis=0, initial=0) * scale
    if (most * (i + 1)).max() + most.sum() + 2 * (d + 1) >= 1 << (BITS - 1):
        raise ValueError("the features are too many standard deviations from zero")
    return scale
