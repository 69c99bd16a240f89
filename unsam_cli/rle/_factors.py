"""Logits as products of embeddings and features, computed only where they can be positive."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unsam_cli.jit import kernel
from unsam_cli.rle.runs import IntArray

FloatArray = NDArray[np.float32]

_REACH = 2  # logits, as far as a pixel mixes them from one that is positive


class Factors(NamedTuple):
    """Of the logits of masks, which are needed in windows only.

    Attributes
    ----------
    embeddings : (n, C) float32
        Factors of the features.
    windows : (n, 4) int64
        x0, y0, x1, y1 in logits, the ends exclusive: logits outside count as not positive.
    """

    embeddings: FloatArray
    windows: IntArray


@kernel()
def multiply(features: FloatArray, embedding: FloatArray, window: Any, out: FloatArray) -> None:
    """Logits of a mask in its window, and around it as far as they are mixed with those inside."""
    count, w, h = features.shape
    low, high = max(window[1] - _REACH, 0), min(window[3] + _REACH, h)
    for x in range(max(window[0] - _REACH, 0), min(window[2] + _REACH, w)):
        line = out[x, low:high]
        line[:] = 0
        for c in range(count):
            factor, feature = embedding[c], features[c, x, low:high]
            for y in range(len(line)):
                line[y] += factor * feature[y]
