"""The labels of pixels, by votes of the pixels around them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unsam_cli.conquer._vote_kernels import compete_kernel

Labels = NDArray[np.int32]
Floats = NDArray[np.float32]
IntArray = NDArray[np.int64]

SUM = 1 << 31
"""The weights of all votes for a pixel add up to less."""


def compete(
    labels: Labels,
    colours: Floats,
    near: NDArray[np.bool_],
    falloff: NDArray[np.float64],
    rows: IntArray,
    columns: IntArray,
    contrast: float,
) -> Labels:
    """Give every pixel near a border the label with the most votes around it.

    `labels` is (T, H, W) int32, T label images of one picture, and unchanged; `colours` (H, W, 3)
    float32 in CIELAB. Only the pixels marked in `near`, (T, H, W) bool, can change. The pixels
    where `rows` and `columns` cross, both ascending int64, can vote. A vote is weighted by its
    distance in rows and columns: `falloff`, (R + 1, S + 1), from 0 to 1, whose shape limits the
    window; and by its distance in colour: a Gaussian with the standard deviation `contrast`.
    Weights are rounded down to integers, so their sums are exact and do not depend on the order. In
    a tie a pixel keeps its label; other labels win by their order in the window. Return the new
    labels.
    """
    _, height, width = labels.shape
    above, below = _window(rows, height, len(falloff) - 1)
    left, right = _window(columns, width, falloff.shape[1] - 1)
    tall, wide = int(np.max(below - above)), int(np.max(right - left))
    kind, nearness = _kinds(columns, left, right, falloff * ((SUM - 1) // (tall * wide)))
    scale = np.float32(1 / (128 * contrast**2))
    out = labels.copy()
    compete_kernel(
        *(labels, colours, near, rows, columns, nearness, scale, above, below, left, kind, tall),
        out,
    )
    return out


def _window(voters: IntArray, length: int, reach: int) -> tuple[IntArray, IntArray]:
    """First and last (exclusive) of ascending voters within `reach` of every pixel of an axis."""
    pixels = np.arange(length)
    return np.searchsorted(voters, pixels - reach), np.searchsorted(voters, pixels + reach + 1)


def _kinds(
    columns: IntArray, left: IntArray, right: IntArray, falloff: NDArray[np.float64]
) -> tuple[IntArray, Floats]:
    """Group the columns of pixels whose voters ``columns[left:right]`` lie alike around them.

    Return the kind of each column, (W,), and the falloff of each kind's voters in each row that is
    near enough, (K, R + 1, lanes).
    """
    voter = left[:, None] + np.arange(np.max(right - left))
    distance = np.abs(columns[np.minimum(voter, len(columns) - 1)] - np.arange(len(left))[:, None])
    beside = np.where(voter < right[:, None], distance, falloff.shape[1])
    kinds, kind = np.unique(beside, axis=0, return_inverse=True)
    # What lies beyond the window has the weight 0.
    fall = np.pad(falloff, ((0, 0), (0, 1)))[:, kinds].transpose(1, 0, 2)
    return kind.ravel().astype(np.int64), np.ascontiguousarray(fall, dtype=np.float32)
