"""Precision and recall over all images: AP and AR as in COCO."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unsam_cli.evaluation.matches import RANGES, RECALLS, THRESHOLDS, Matches, unpack

Metrics = dict[str, float | None]
SIZES = tuple(name for name in RANGES if name != "all")


@dataclass(frozen=True)
class Pool:
    """All N predictions of all I images, by falling score.

    Attributes
    ----------
    order : (N,) int64
        Permutation from the order of the images to that of the scores; ties keep their order.
    image : (N,) int64
        Index of the image of each prediction.
    rank : (N,) int64
        Rank among the predictions of the same image, from 0.
    matched, ignored : (A, N) uint16
        Flags as in `Matches`.
    positives : (I, A) int64
        Numbers of masks as in `Matches`, for every image.
    """

    order: NDArray[np.int64]
    image: NDArray[np.int64]
    rank: NDArray[np.int64]
    matched: NDArray[np.uint16]
    ignored: NDArray[np.uint16]
    positives: NDArray[np.int64]

    def counts(self, area: int, threshold: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which predictions are correct, and which are wrong, (N,) bool each."""
        matched = unpack(self.matched[area], threshold)
        ignored = unpack(self.ignored[area], threshold)
        return matched & ~ignored, ~matched & ~ignored


def pool(images: Sequence[Matches]) -> Pool:
    """Sort the predictions of all images by score; ties keep the order of the images."""
    sizes = np.array([len(m.scores) for m in images], dtype=np.int64)
    scores = np.concatenate([m.scores for m in images])
    order = np.argsort(-scores, kind="stable")
    ranks = np.concatenate([np.arange(n) for n in sizes])
    return Pool(
        order=order,
        image=np.repeat(np.arange(len(images)), sizes)[order],
        rank=ranks[order],
        matched=np.concatenate([m.matched for m in images], axis=1)[:, order],
        ignored=np.concatenate([m.ignored for m in images], axis=1)[:, order],
        positives=np.array([m.positives for m in images]),
    )


def measure(images: Sequence[Matches], max_dets: Sequence[int]) -> Metrics:
    """Compute AP and AR of class-agnostic masks.

    Parameters
    ----------
    images : sequence of Matches
        Every image of the evaluation, in order; at least one.
    max_dets : sequence of int
        Numbers of predictions kept per image, ascending. AP uses the last one.

    Returns
    -------
    dict
        Values from 0 to 1 by metric. A metric is None if no mask of the ground truth counts, where
        pycocotools gives -1.
    """
    pooled = pool(images)
    most = max_dets[-1]
    precisions = {name: _precision(pooled, a) for a, name in enumerate(RANGES)}
    everything = precisions["all"]
    metrics: Metrics = {"AP": _mean(everything)}
    for percent in (50, 75):
        at = int(np.flatnonzero(np.isclose(THRESHOLDS, percent / 100))[0])
        metrics[f"AP{percent}"] = _mean(None if everything is None else everything[at])
    metrics |= {f"AP-{name}": _mean(precisions[name]) for name in SIZES}
    metrics |= {f"AR@{k}": _mean(recall(pooled, 0, k)) for k in max_dets}
    for a, name in enumerate(RANGES):
        if name != "all":
            metrics[f"AR@{most}-{name}"] = _mean(recall(pooled, a, most))
    return metrics


def recall(pooled: Pool, area: int, keep: int) -> NDArray[np.float64] | None:
    """Recall at every IoU threshold, (T,), with `keep` predictions of every image; or None."""
    positives = int(pooled.positives[:, area].sum())
    if not positives:
        return None
    kept = pooled.rank < keep
    right = [int((pooled.counts(area, t)[0] & kept).sum()) for t in range(len(THRESHOLDS))]
    return np.array(right, dtype=float) / positives


def _precision(pooled: Pool, area: int) -> NDArray[np.float64] | None:
    """Interpolated precision, (T, R), at every IoU threshold and recall; or None.

    References
    ----------
    pycocotools.cocoeval.COCOeval.accumulate, with exactly the same results.
    """
    positives = int(pooled.positives[:, area].sum())
    if not positives:
        return None
    precision = np.zeros((len(THRESHOLDS), len(RECALLS)))
    for t in range(len(THRESHOLDS)):
        right, wrong = pooled.counts(area, t)
        if right.any():  # else the precision is 0 everywhere
            precision[t] = _interpolate(right, wrong, positives)
    return precision


def _interpolate(
    right: NDArray[np.bool_], wrong: NDArray[np.bool_], positives: int
) -> NDArray[np.float64]:
    tp = np.cumsum(right).astype(float)
    fp = np.cumsum(wrong).astype(float)
    precision = tp / (fp + tp + np.spacing(1))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    place = np.searchsorted(tp / positives, RECALLS, side="left")
    reached = place < len(envelope)
    result = np.zeros(len(RECALLS))
    result[reached] = envelope[place[reached]]
    return result


def _mean(values: NDArray[np.float64] | None) -> float | None:
    return None if values is None else float(np.mean(values.ravel()))
