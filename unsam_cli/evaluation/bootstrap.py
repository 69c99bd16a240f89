"""Confidence of the difference of two sets of predictions: a paired bootstrap over images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from unsam_cli.evaluation.matches import RANGES, RECALLS, THRESHOLDS, Matches, PointResult
from unsam_cli.evaluation.metrics import SIZES, Metrics, Pool, pool
from unsam_cli.evaluation.points import POINT_METRICS
from unsam_cli.jit import kernel

_EPSILON = float(np.spacing(1))
Interval = dict[str, float | None]
Draw = Callable[[NDArray[np.int64]], list[dict[str, float]]]


def compare(
    metrics: Sequence[Metrics],
    draw: Draw,
    *,
    images: int,
    repeats: int,
    seed: int,
) -> list[dict[str, Interval]]:
    """Differences of every other file from the first, with their 95 % intervals.

    Images are drawn with replacement, the same ones for all files, and everything is measured
    again; the interval is between the 2.5th and the 97.5th percentile of the differences.

    Parameters
    ----------
    metrics : sequence of Metrics
        What was measured on all images, of every file.
    draw : callable
        Measures every file with every image counted as often as ``weights``, (I,) int64, says.
    images : int
        Their number I.
    repeats : int
        Draws; 0 leaves the intervals out.
    seed : int
        Seeds the draws.

    Returns
    -------
    list of dict
        For every other file and metric `difference`, `low` and `high`; None where it is undefined.

    References
    ----------
    Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3.
    """
    rng = np.random.default_rng(seed)
    drawn = [draw(rng.multinomial(images, np.full(images, 1 / images))) for _ in range(repeats)]
    return [
        {
            name: _interval(
                metrics[0][name],
                metrics[place][name],
                np.array([row[place][name] - row[0][name] for row in drawn]),
            )
            for name in metrics[0]
        }
        for place in range(1, len(metrics))
    ]


def _interval(first: float | None, other: float | None, drawn: NDArray[np.float64]) -> Interval:
    if first is None or other is None:
        return {"difference": None, "low": None, "high": None}
    interval: Interval = {"difference": other - first, "low": None, "high": None}
    finite = drawn[np.isfinite(drawn)]
    if len(finite):
        low, high = np.percentile(finite, [2.5, 97.5])
        interval |= {"low": float(low), "high": float(high)}
    return interval


def masks_draw(images: Sequence[Sequence[Matches]], max_dets: Sequence[int]) -> Draw:
    """How to measure files of masks, each given by the matches of every image."""
    files = [_Resampled(pool(found), len(found), max_dets) for found in images]
    return lambda weights: [file.measure(weights) for file in files]


def points_draw(images: Sequence[Sequence[PointResult]]) -> Draw:
    """How to measure files of masks from prompts, each given by the segments of every image."""
    files = []
    for found in images:
        width = len(POINT_METRICS)
        rows = [np.array(p.segments, dtype=np.float64).reshape(-1, width) for p in found]
        files.append((np.array([r.sum(axis=0) for r in rows]), np.array([len(r) for r in rows])))

    def draw(weights: NDArray[np.int64]) -> list[dict[str, float]]:
        means = [(weights @ sums) / max(int(weights @ counts), 1) for sums, counts in files]
        return [dict(zip(POINT_METRICS, mean.tolist(), strict=True)) for mean in means]

    return draw


class _Resampled:
    """Predictions of one file, measured with a weight per image."""

    def __init__(self, pooled: Pool, count: int, max_dets: Sequence[int]) -> None:
        self.pooled, self.max_dets = pooled, max_dets
        # (I, T) for every kind of recall: predictions of each image that are right.
        self.right = {f"AR@{k}": (0, self._right(0, k, count)) for k in max_dets}
        for a, name in enumerate(RANGES):
            if name in SIZES:
                self.right[f"AR@{max_dets[-1]}-{name}"] = (a, self._right(a, max_dets[-1], count))

    def _right(self, area: int, keep: int, count: int) -> NDArray[np.int64]:
        kept = self.pooled.rank < keep
        columns = [
            np.bincount(self.pooled.image, self.pooled.counts(area, t)[0] & kept, minlength=count)
            for t in range(len(THRESHOLDS))
        ]
        return np.array(columns, dtype=np.int64).T

    def measure(self, weights: NDArray[np.int64]) -> dict[str, float]:
        positives = weights @ self.pooled.positives
        results = {}
        for a, name in enumerate(RANGES):
            precision = mean_precisions(
                self.pooled.image,
                self.pooled.matched[a],
                self.pooled.ignored[a],
                weights,
                int(positives[a]),
                RECALLS,
                len(THRESHOLDS),
            )
            results["AP" if name == "all" else f"AP-{name}"] = float(precision.mean())
            if name == "all":
                results |= {"AP50": float(precision[0]), "AP75": float(precision[5])}
        for name, (a, right) in self.right.items():
            found = float((weights @ right).mean())
            results[name] = found / positives[a] if positives[a] else float("nan")
        return results


@kernel()
def mean_precisions(
    image: NDArray[np.int64],
    matched: NDArray[np.uint16],
    ignored: NDArray[np.uint16],
    weights: NDArray[np.int64],
    positives: int,
    recalls: NDArray[np.float64],
    thresholds: int,
) -> NDArray[np.float64]:
    """Mean interpolated precision at every IoU threshold, images counted `weights` times.

    Returns
    -------
    (T,) float64
        nan if there is nothing to find.
    """
    result = np.full(thresholds, np.nan)
    if positives == 0:
        return result
    # Precision rises, and recall grows, only where a prediction is right: keep those places.
    precision = np.empty(positives + 1)
    reached = np.empty(positives + 1)
    for t in range(thresholds):
        bit = np.uint16(1 << t)
        right, wrong, steps = 0, 0, 0
        for n in range(len(image)):
            weight = weights[image[n]]
            if weight == 0 or ignored[n] & bit:
                continue
            if matched[n] & bit:
                right += weight
                precision[steps] = right / (wrong + right + _EPSILON)
                reached[steps] = right / positives
                steps += 1
            else:
                wrong += weight
        for step in range(steps - 1, 0, -1):
            precision[step - 1] = max(precision[step - 1], precision[step])
        total, step = 0.0, 0
        for level in recalls:
            while step < steps and reached[step] < level:
                step += 1
            if step < steps:
                total += precision[step]
        result[t] = total / len(recalls)
    return result
