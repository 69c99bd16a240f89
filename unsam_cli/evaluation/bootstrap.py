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
    """Compute differences of every other file from the first, with 95 % confidence intervals.

    Images are drawn with replacement, the same images for all files, and all metrics are
    recomputed. An interval is from the 2.5th to the 97.5th percentile of the differences.

    Parameters
    ----------
    metrics : sequence of Metrics
        Metrics of every file over all images.
    draw : callable
        Returns the metrics of every file if image i counts ``weights[i]`` times, (I,) int64.
    images : int
        Number of images I.
    repeats : int
        Number of draws; 0 omits the intervals.
    seed : int
        Seed of the draws.

    Returns
    -------
    list of dict
        `difference`, `low` and `high` for every other file and metric; None if it is undefined.

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
    """Return the function `draw` of `compare` for masks, given the matches per file and image."""
    files = [_Resampled(pool(found), len(found), max_dets) for found in images]
    return lambda weights: [file.measure(weights) for file in files]


def points_draw(images: Sequence[Sequence[PointResult]]) -> Draw:
    """Return the function `draw` of `compare` for masks from prompts, per file and image."""
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
    """Predictions of one file, whose metrics can be computed with a weight per image."""

    def __init__(self, pooled: Pool, count: int, max_dets: Sequence[int]) -> None:
        self.pooled, self.max_dets = pooled, max_dets
        # (I, T) for every kind of recall: number of correct predictions of each image.
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
    """Mean interpolated precision at every IoU threshold, with a weight per image.

    Parameters
    ----------
    image : (N,) int64
        Index of the image of each prediction; predictions are sorted by falling score.
    matched, ignored : (N,) uint16
        Bit t refers to the t-th threshold, see :class:`unsam_cli.evaluation.matches.Matches`.
    weights : (I,) int64
        How often each image counts.
    positives : int
        Number of masks of the ground truth, with weights.
    recalls : (R,) float64
        Recalls at which the precision is interpolated.
    thresholds : int
        Number of IoU thresholds T, at most 16.

    Returns
    -------
    (T,) float64
        The precisions; nan if `positives` is 0.
    """
    result = np.full(thresholds, np.nan)
    if positives == 0:
        return result
    # Precision and recall rise only at correct predictions, so only these are kept.
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
