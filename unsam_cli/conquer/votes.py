"""The labels of pixels, by votes of the pixels around them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unsam_cli.conquer._vote_kernels import compete_kernel

Labels = NDArray[np.int32]
Floats = NDArray[np.float32]
IntArray = NDArray[np.int64]

LANES = 4
"""The voters of a row are padded, with weight 0, to a multiple of this length of vectors."""


def compete(
    labels: Labels,
    colours: Floats,
    near: NDArray[np.bool_],
    falloff_y: IntArray,
    falloff_x: IntArray,
    rows: IntArray,
    columns: IntArray,
    closeness: Labels,
) -> Labels:
    """Give every pixel near a border the label with the most votes around it.

    `labels` is (T, H, W) int32, T label images of one picture, and unchanged; `colours` (H, W, 3)
    float32 in CIELAB. Only the pixels marked in `near`, (T, H, W) bool, can change. The pixels
    where `rows` and `columns` cross, both ascending int64, can vote. A vote is weighted by its
    distance in rows (`falloff_y`) and columns (`falloff_x`), whose lengths limit the window, and by
    its squared distance of colour, rounded down (`closeness`, int32, whose last entry also serves
    larger distances). Weights are integers, so their sums are exact and do not depend on the order.
    In a tie a pixel keeps its label; other labels win by their order in the window. Return the new
    labels.
    """
    _, height, width = labels.shape
    above, below = _window(rows, height, len(falloff_y) - 1)
    left, right = _window(columns, width, len(falloff_x) - 1)
    lanes = (int(np.max(right - left)) + LANES - 1) // LANES * LANES
    kind, beside = _kinds(columns, left, right, falloff_x, lanes)
    planes = np.zeros((3, len(rows), len(columns) + lanes), dtype=np.float32)
    planes[:, :, : len(columns)] = colours[rows].take(columns, axis=1).transpose(2, 0, 1)
    names = np.zeros((len(labels), *planes.shape[1:]), dtype=np.int32)
    names[:, :, : len(columns)] = labels[:, rows].take(columns, axis=2)
    out = labels.copy()
    compete_kernel(
        *(labels, colours, near, falloff_y, rows, closeness, above, below, left, kind, beside),
        *(planes.reshape(3, -1), names.ravel(), len(columns) + lanes, out),
    )
    return out


def _window(voters: IntArray, length: int, reach: int) -> tuple[IntArray, IntArray]:
    """First and last (exclusive) of ascending voters within `reach` of every pixel of an axis."""
    pixels = np.arange(length)
    return np.searchsorted(voters, pixels - reach), np.searchsorted(voters, pixels + reach + 1)


def _kinds(
    columns: IntArray, left: IntArray, right: IntArray, falloff_x: IntArray, lanes: int
) -> tuple[IntArray, Labels]:
    """Group the columns of pixels whose voters ``columns[left:right]`` lie alike around them.

    Return the kind of each column, (W,), and the falloff of each kind's voters, (K, lanes).
    """
    voter = left[:, None] + np.arange(lanes)
    distance = np.abs(columns[np.minimum(voter, len(columns) - 1)] - np.arange(len(left))[:, None])
    fall = falloff_x[np.minimum(distance, len(falloff_x) - 1)]
    beside = np.where(voter < right[:, None], fall, 0).astype(np.int32)
    number: dict[bytes, int] = {}
    kind = [number.setdefault(one.tobytes(), len(number)) for one in beside]
    kinds = [np.frombuffer(one, dtype=np.int32) for one in number]
    return np.array(kind, dtype=np.int64), np.stack(kinds)
