"""How the samples of an axis are mixed to more or fewer: bilinear steps with the bits of torch."""

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
        Neighbours; the second is the next after the first, or the same if it has no weight.
    near, far : (m,) float32
        Their weights, which add up to 1.
    """

    first: Indices
    second: Indices
    near: Weights
    far: Weights

    @classmethod
    def of(cls, n: int, m: int, kept: int) -> Step:
        """Resize n samples to m, as torch does without ``align_corners``; keep the first `kept`.

        The weights have the same bits as torch's on a CPU.
        """
        ratio = np.float32(n) / np.float32(m)
        at = (np.arange(kept, dtype=np.float32) + np.float32(0.5)) * ratio - np.float32(0.5)
        at = np.maximum(at, np.float32(0))
        first = np.minimum(at.astype(np.int64), n - 1)
        far = np.clip(at - first.astype(np.float32), np.float32(0), np.float32(1))
        second = np.minimum(first + (far > 0), n - 1)
        return cls(first.astype(np.uint32), second.astype(np.uint32), np.float32(1) - far, far)

    def mix(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return m rows made of (n, k) rows."""
        mixed: NDArray[np.float32] = (
            self.near[:, None] * rows[self.first] + self.far[:, None] * rows[self.second]
        )
        return mixed


class Axis(NamedTuple):
    """Two steps along one axis.

    Attributes
    ----------
    inner, outer : Step
        The first may change nothing.
    low, high : (m,) int64
        First and last sample that a result may depend on; both ascend.
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
            Samples before and after.
        through : (padded, kept), optional
            Resize to `padded` samples first, at least n, and the first `kept` of these to m: what a
            network that sees a padded image says about it.
        """
        padded, kept = through or (n, n)
        inner, outer = Step.of(n, padded, kept), Step.of(kept, m, m)
        reach = inner.first[outer.first], inner.second[outer.second]
        return cls(inner, outer, *(side.astype(np.int64) for side in reach))
