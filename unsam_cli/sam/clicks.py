"""Choose the click for a mask: the pixel farthest from its border."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate, distance_transform_edt

from unsam_cli.rle import Rle, boxes, decode_window

_SOFTNESS = 0.35  # of the approximate distance, in pixels


def centre_click(rle: Rle, *, approximate: bool = False) -> tuple[int, int]:
    """Choose the pixel of a mask that is farthest from its border.

    Parameters
    ----------
    rle : Rle
        The mask; not empty.
    approximate : bool
        Take the distance of :func:`approximate_distance`, as UnSAM's evaluation did.

    Returns
    -------
    x, y : int
        Of the first such pixel in reading order. The border of the image counts as one.

    Raises
    ------
    ValueError
        The mask is empty.
    """
    x, y, w, h = boxes([rle])[0].tolist()
    if not w:
        raise ValueError("an empty mask has no pixel to click")
    # The nearest pixel outside is never beyond the ring around the mask's box.
    inside = np.pad(decode_window(rle, x, y, w, h), 1)
    measure = approximate_distance if approximate else distance_transform_edt
    distance = np.ascontiguousarray(measure(inside)[1:-1, 1:-1])
    row, column = divmod(int(distance.argmax()), w)
    return x + column, y + row


def approximate_distance(inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Distance to the nearest pixel outside, by repeated convolution.

    Parameters
    ----------
    inside : (H, W) bool

    Returns
    -------
    (H, W) float32
        Pixels; 0 outside.

    References
    ----------
    Pham et al., Differentiable Distance Transform via Convolution, 2021; the kernel of 3 x 3 and
    the constant are those of kornia's ``distance_transform``. Computed in float32: with half
    precision, as published, ties break at random.
    """
    steps = np.hypot(*np.mgrid[-1:2, -1:2])
    kernel = np.exp(-steps / _SOFTNESS).astype(np.float32)
    reached = (~inside).astype(np.float32)
    distance = np.zeros(inside.shape, dtype=np.float32)
    for ring in range(max(inside.shape)):
        near = correlate(reached, kernel, mode="nearest")
        with np.errstate(divide="ignore"):
            step = -_SOFTNESS * np.log(near)
        step[np.isinf(step)] = 0
        new = step > 0
        if not new.any():
            break
        distance[new] += ring + step[new]
        reached[new] = 1
    return distance
