"""Bilinear resampling along an axis, bit-identical to torch on a CPU."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.uint32]  # unsigned, so that compiled loops need not handle negative ones
Weights = NDArray[np.float32]


class Step(NamedTuple):
    """One bilinear step along one axis: sample i becomes ``near * x[first] + far * x[second]``.

    Attributes
    ----------
    first, second : (m,) uint32
        Indices of both neighbours; the second follows the first, or equals it if `far` is 0.
    near, far : (m,) float32
        Weights of the neighbours, which sum to 1.
    """

    first: Indices
    second: Indices
    near: Weights
    far: Weights

    @classmethod
    def of(cls, n: int, m: int, kept: int) -> Step:
        """Resize n samples to m, as torch does without ``align_corners``; keep the first `kept`.

        The weights are bit-identical to those of torch on a CPU.
        """
        ratio = np.float32(n) / np.float32(m)
        at = (np.arange(kept, dtype=np.float32) + np.float32(0.5)) * ratio - np.float32(0.5)
        at = np.maximum(at, np.float32(0))
        first = np.minimum(at.astype(np.int64), n - 1)
        far = np.clip(at - first.astype(np.float32), np.float32(0), np.float32(1))
        second = np.minimum(first + (far > 0), n - 1)
        return cls(first.astype(np.uint32), second.astype(np.uint32), np.float32(1) - far, far)

    def mix(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Resample rows, (n, k) float32, to (m, k) float32."""
        mixed: NDArray[np.float32] = (
            self.near[:, None] * rows[self.first] + self.far[:, None] * rows[self.second]
        )
        return mixed


class Axis(NamedTuple):
    """Two consecutive bilinear steps along one axis, to m samples.

    Attributes
    ----------
    inner, outer : Step
        First and second step; the first may be the identity.
    low, high : (m,) int64
        Indices of the first and last input sample that each result may depend on; both ascend.
    """

    inner: Step
    outer: Step
    low: NDArray[np.int64]
    high: NDArray[np.int64]

    @classmethod
    def of(cls, n: int, m: int, *, through: tuple[int, int] | None = None) -> Axis:
        """Resize n samples to m.

        Parameters
        ----------
        n, m : int
            Number of samples before and after.
        through : (padded, kept), optional
            Resize to `padded` samples first, at least n, and then the first `kept` of these to m.
            This removes the padding from outputs of networks that get padded images.
        """
        padded, kept = through or (n, n)
        inner, outer = Step.of(n, padded, kept), Step.of(kept, m, m)
        reach = inner.first[outer.first], inner.second[outer.second]
        return cls(inner, outer, *(side.astype(np.int64) for side in reach))
