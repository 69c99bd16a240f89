"""Reduce channels and keep the inner products between patches as closely as possible."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def project(features: NDArray[np.floating[Any]], rank: int) -> NDArray[np.float32]:
    """Reduce the features of one record to `rank` channels with nearly the same Gram matrix.

    With the singular value decomposition F = U S V' of the features (one patch per row), the result
    is U S, cut to the `rank` largest singular values. Of all matrices of this rank, its Gram matrix
    is nearest to F F' in the Frobenius norm [1]_, so cosine similarities and affinities change
    least. Channels of different records cannot be compared with each other.

    Parameters
    ----------
    features : (h, w, C) floating point
        Patch features of one record.
    rank : int
        Number of channels to keep, at least 1.

    Returns
    -------
    (h, w, rank) float32
        Channels by falling singular value. Channels from min(h w, C) on are zero. The entry of
        largest magnitude in a channel is positive, so signs do not depend on the solver.

    Notes
    -----
    The eigenvectors are those of the smaller of F'F and FF', in float64. Its condition number is
    squared, but the loss of precision is below that of float32 features.

    References
    ----------
    .. [1] C. Eckart, G. Young, "The approximation of one matrix by another of lower rank",
       Psychometrika 1, 1936.
    """
    h, w, c = features.shape
    n = h * w
    rows = features.reshape(n, c).astype(np.float64)
    kept = min(rank, n, c)
    if c <= n:
        _, vectors = np.linalg.eigh(rows.T @ rows)
        scores = rows @ vectors[:, ::-1][:, :kept]
    else:
        values, vectors = np.linalg.eigh(rows @ rows.T)
        scores = vectors[:, ::-1][:, :kept] * np.sqrt(np.maximum(values[::-1][:kept], 0.0))
    peaks = np.take_along_axis(scores, np.abs(scores).argmax(axis=0)[None], axis=0)
    out = np.zeros((n, rank), dtype=np.float32)
    out[:, :kept] = scores * np.where(peaks < 0, -1.0, 1.0)
    return out.reshape(h, w, rank)
