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
from unsam_cli.rle import close_pairs

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
    pairs, iou = close_pairs(found.table, truth.table, THRESHOLDS[0], crowd=truth.crowd)
    starts = np.searchsorted(pairs[:, 0], np.arange(len(found.table) + 1))
    return Candidates(truth, found, starts, pairs[:, 1], iou)


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
