"""Logits as products of embeddings and features, computed only where they can be positive."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unsam_cli.jit import kernel
from unsam_cli.rle.runs import IntArray

FloatArray = NDArray[np.float32]

_REACH = 2  # distance in logits at which a pixel can be interpolated from a positive one


class Factors(NamedTuple):
    """Embeddings of n masks, whose products with features are logits, needed in windows only.

    Attributes
    ----------
    embeddings : (n, C) float32
        Coefficients of the C features for each mask.
    windows : (n, 4) int64
        x0, y0, x1, y1 of the window of each mask, in pixels of the features; x1 and y1 are
        exclusive. Logits outside count as not positive.
    """

    embeddings: FloatArray
    windows: IntArray


@kernel()
def multiply(features: FloatArray, embedding: FloatArray, window: Any, out: FloatArray) -> None:
    """Compute the logits of a mask in its window, and around it as far as interpolation reaches.

    `features` are (C, w, h), `embedding` is (C,), and `out`, (w, h), is written in place.
    """
    count, w, h = features.shape
    low, high = max(window[1] - _REACH, 0), min(window[3] + _REACH, h)
    for x in range(max(window[0] - _REACH, 0), min(window[2] + _REACH, w)):
        line = out[x, low:high]
        line[:] = 0
        for c in range(count):
            factor, feature = embedding[c], features[c, x, low:high]
            for y in range(len(line)):
                line[y] += factor * feature[y]
