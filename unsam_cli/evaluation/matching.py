"""The greedy matching of COCO, image by image, on exact intersections.

Few of a thousand predictions reach an IoU of 1/2 with any mask of the ground truth. Areas and boxes
exclude most pairs that cannot match, and intersections of runs exclude the others. The remaining
pairs are matched as in pycocotools.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unsam_cli.evaluation.matches import RANGES, THRESHOLDS, Matches, in_range
from unsam_cli.evaluation.sets import PredictionSet, TruthSet
from unsam_cli.jit import kernel
from unsam_cli.rle import RunTable, intersections

IntArray = NDArray[np.int64]
Flags = NDArray[np.bool_]
Bits = NDArray[np.uint16]

NO_VALUE = "\0"  # a value that no annotation has
_EVERY = np.uint16(2 ** len(THRESHOLDS) - 1)


@dataclass(frozen=True, slots=True)
class Candidates:
    """The pairs of one image that can match: P pairs of n predictions and m masks.

    Attributes
    ----------
    truth, found : TruthSet, PredictionSet
        The masks of the image.
    starts : (n + 1,) int64
        Prediction i has the pairs ``starts[i]:starts[i + 1]``.
    partner : (P,) int64
        Index of the mask of the ground truth, ascending for each prediction.
    iou : (P,) float64
        Intersection over union; for a crowd region, intersection over area of the prediction.
    """

    truth: TruthSet
    found: PredictionSet
    starts: IntArray
    partner: IntArray
    iou: NDArray[np.float64]


def candidates(truth: TruthSet, found: PredictionSet) -> Candidates:
    """Find the pairs of one image that reach the lowest IoU threshold."""
    g, d = truth.table, found.table
    common = np.minimum(_box_overlap(d.boxes, g.boxes), d.areas[:, None])
    common = np.minimum(common, g.areas)  # at most
    pairs = np.argwhere(_iou(common, d.areas[:, None], g.areas, truth.crowd) >= THRESHOLDS[0])
    exact = intersections(_joined(d, g), pairs + np.array([0, len(d)]))
    left, right = pairs.T
    iou = _iou(exact, d.areas[left], g.areas[right], truth.crowd[right])
    good = iou >= THRESHOLDS[0]
    starts = np.searchsorted(left[good], np.arange(len(d) + 1))
    return Candidates(truth, found, starts, right[good], iou[good])


def match(pairs: Candidates, *, value: str | None = None) -> Matches:
    """Match the predictions of one image to the ground truth.

    Parameters
    ----------
    pairs : Candidates
        The pairs of the image.
    value : str, optional
        Value of masks that count. Masks with other values are ignored, as are masks outside of a
        size range. With `NO_VALUE` no mask counts.

    Returns
    -------
    Matches
        The matches for all size ranges and thresholds.

    References
    ----------
    pycocotools.cocoeval.COCOeval.evaluateImg, with exactly the same results.
    """
    truth, areas = pairs.truth, pairs.found.table.areas
    counted = ~truth.crowd
    if value is not None:
        counted &= np.array([v == value for v in truth.values], dtype=bool)
    ignored = np.array([~(counted & in_range(truth.areas, name)) for name in RANGES])
    outside = np.array([~in_range(areas, name) for name in RANGES])
    matched, unsure = _match(
        pairs.starts, pairs.partner, pairs.iou, truth.crowd, ignored, THRESHOLDS
    )
    return Matches(
        scores=pairs.found.scores,
        matched=matched,
        ignored=unsure | (outside * _EVERY & ~matched),
        positives=(~ignored).sum(axis=1),
    )


@kernel()
def _match(
    starts: IntArray,
    partner: IntArray,
    iou: NDArray[np.float64],
    crowd: Flags,
    ignored: Flags,
    thresholds: NDArray[np.float64],
) -> tuple[Bits, Bits]:
    """Match greedily, the best prediction first, once per size range and threshold.

    A prediction takes the free mask with the highest IoU, the last one in a tie. Masks that count
    have priority over ignored ones, whatever their IoU. Crowd regions are always free. `starts`,
    `partner` and `iou` are those of `Candidates`; `crowd` is (m,), `ignored` is (A, m) and
    `thresholds` is (T,).

    Returns
    -------
    matched, unsure : (A, n) uint16
        Bit t is set if a prediction is matched at the t-th threshold, and if it is matched to an
        ignored mask.
    """
    size = (len(ignored), len(starts) - 1)
    matched, unsure = np.zeros(size, np.uint16), np.zeros(size, np.uint16)
    for a in range(size[0]):
        for t in range(len(thresholds)):
            bit = np.uint16(1 << t)
            free = np.ones(len(crowd), np.bool_)
            for i in range(size[1]):
                best = -1
                for p in range(starts[i], starts[i + 1]):
                    g = partner[p]
                    if iou[p] < thresholds[t] or not (free[g] or crowd[g]):
                        continue
                    less = best >= 0 and ignored[a, g] > ignored[a, partner[best]]
                    more = best < 0 or ignored[a, g] < ignored[a, partner[best]]
                    if more or (not less and iou[p] >= iou[best]):
                        best = p
                if best >= 0:
                    free[partner[best]] = False
                    matched[a, i] |= bit
                    if ignored[a, partner[best]]:
                        unsure[a, i] |= bit
    return matched, unsure


def _iou(common: IntArray, found: IntArray, truth: IntArray, crowd: Flags) -> NDArray[np.float64]:
    whole = np.where(crowd, found, found + truth - common)
    return np.asarray(common / np.maximum(whole, 1))


def _box_overlap(a: IntArray, b: IntArray) -> IntArray:
    """Area of the intersection of the boxes of each pair in pixels, (n, m)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum((a[:, :2] + a[:, 2:])[:, None], (b[:, :2] + b[:, 2:])[None])
    return np.asarray(np.maximum(high - low, 0).prod(axis=-1))


def _joined(a: RunTable, b: RunTable) -> RunTable:
    """Concatenate the tables of masks of one image."""
    return RunTable(
        size=a.size,
        offsets=np.concatenate([a.offsets, a.offsets[-1] + b.offsets[1:]]),
        runs=np.concatenate([a.runs, b.runs]),
        areas=np.concatenate([a.areas, b.areas]),
        boxes=np.concatenate([a.boxes, b.boxes]),
    )
