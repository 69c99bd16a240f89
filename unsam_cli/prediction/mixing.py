"""How pixels of a mask come from the network's logits, two bilinear steps later."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.uint32]  # unsigned: compiled loops then need not think of negative ones
Weights = NDArray[np.float32]


class Step(NamedTuple):
    """One bilinear step along one axis: result i is ``near * x[first] + far * x[second]``.

    Attributes
    ----------
    first, second : (m,) uint32
        Neighbours; the second is the next after the first, or the same at the end.
    near, far : (m,) float32
        Their weights, which add up to 1.
    """

    first: Indices
    second: Indices
    near: Weights
    far: Weights


class Axis(NamedTuple):
    """Both steps along one axis.

    Attributes
    ----------
    inner : Step
        From logits to the network's input, without its padding.
    outer : Step
        From there to the image.
    low, high : (m,) int64
        First and last logit that a pixel of the image depends on; both ascend.
    """

    inner: Step
    outer: Step
    low: NDArray[np.int64]
    high: NDArray[np.int64]


def bilinear(n: int, m: int, kept: int) -> Step:
    """Resize n samples to m, as torch does without ``align_corners``, and keep the first `kept`.

    The weights have the same bits as torch's on a CPU.
    """
    ratio = np.float32(n) / np.float32(m)
    at = (np.arange(kept, dtype=np.float32) + np.float32(0.5)) * ratio - np.float32(0.5)
    at = np.maximum(at, np.float32(0))
    first = np.minimum(at.astype(np.int64), n - 1)
    far = np.clip(at - first.astype(np.float32), np.float32(0), np.float32(1))
    second = np.minimum(first + 1, n - 1)
    return Step(first.astype(np.uint32), second.astype(np.uint32), np.float32(1) - far, far)


def axis(low: int, padded: int, inner: int, size: int) -> Axis:
    """Resize `low` logits to `padded` samples, drop the padding, resize to `size` pixels."""
    enlarge, fit = bilinear(low, padded, inner), bilinear(inner, size, size)
    reach = enlarge.first[fit.first], enlarge.second[fit.second]
    return Axis(enlarge, fit, *(side.astype(np.int64) for side in reach))
