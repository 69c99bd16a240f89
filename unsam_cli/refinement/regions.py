"""Connected regions of masks: components, holes, specks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unsam_cli.jit import kernel

BoolArray = NDArray[np.bool_]


def component(mask: BoolArray, seed: int) -> BoolArray:
    """Return the 4-connected component of a mask (h, w) bool that contains pixel `seed`.

    `seed` is the flat, row-major index of the pixel. Outside of the mask the result is empty.
    """
    labels, _ = label(mask)
    chosen = labels.flat[seed]
    return np.zeros_like(mask) if chosen < 0 else labels == chosen


def fill_holes(mask: BoolArray) -> BoolArray:
    """Fill the background of a mask (h, w) bool that is not 4-connected with the image border."""
    labels, sizes = label(~mask)
    open_ = np.zeros(len(sizes) + 1, np.bool_)  # the last entry serves label -1, the mask itself
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        open_[edge] = True
    open_[-1] = False
    filled: BoolArray = ~open_[labels]
    return filled


def label(mask: BoolArray) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Label the 4-connected components of a mask.

    Parameters
    ----------
    mask : (h, w) bool
        The mask.

    Returns
    -------
    (h, w) int32
        Label of each pixel: 0, 1... in the order of the components' first pixels; -1 outside the
        mask.
    (k,) int64
        Areas of the components in pixels.
    """
    labels, sizes = _label(np.ascontiguousarray(mask))
    return labels, sizes


@kernel()
def _label(mask: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Label a mask by flooding one component after the other."""
    h, w = mask.shape
    labels = np.full((h, w), -1, np.int32)
    stack = np.empty(h * w, np.int64)
    sizes = np.empty(h * w // 2 + 1, np.int64)
    count = 0
    for start in range(h * w):
        if not mask[start // w, start % w] or labels[start // w, start % w] >= 0:
            continue
        labels[start // w, start % w] = count
        stack[0] = start
        depth, size = 1, 0
        while depth:
            depth -= 1
            size += 1
            y, x = stack[depth] // w, stack[depth] % w
            for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                ny, nx = y + dy, x + dx
                inside = 0 <= ny < h and 0 <= nx < w
                if inside and mask[ny, nx] and labels[ny, nx] < 0:
                    labels[ny, nx] = count
                    stack[depth] = ny * w + nx
                    depth += 1
        sizes[count] = size
        count += 1
    return labels, sizes[:count].copy()
