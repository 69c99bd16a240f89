"""The greedy matching of COCO, by hotcoco, over a chunk of images.

hotcoco is a port of pycocotools that shows, image by image, which predictions it matched, and
releases the GIL. It is given only masks that can match (see :mod:`~unsam_cli.evaluation.overlap`);
what cannot is unmatched by definition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import hotcoco
import numpy as np
from numpy.typing import NDArray

from unsam_cli.evaluation.matches import RANGES, THRESHOLDS, Matches, in_range, pack
from unsam_cli.evaluation.overlap import matchable
from unsam_cli.evaluation.sets import PredictionSet, TruthSet
from unsam_cli.rle import Rle

_EVERY = np.uint16(2 ** len(THRESHOLDS) - 1)
_OUTSIDE = -1.0  # an area that belongs to no size range, so that a mask is ignored in all


@dataclass(frozen=True, slots=True)
class Problem:
    """One image to match.

    Attributes
    ----------
    truth, found : TruthSet, PredictionSet
        Its masks.
    left, right : (n,), (m,) int64
        The predictions and the ground truth that can match.
    """

    truth: TruthSet
    found: PredictionSet
    left: NDArray[np.int64]
    right: NDArray[np.int64]


def problem(truth: TruthSet, found: PredictionSet) -> Problem:
    """Prepare one image for :func:`match`."""
    return Problem(truth, found, *matchable(truth, found, threshold=float(THRESHOLDS[0])))


def match(problems: Sequence[Problem], *, value: str | None = None) -> list[Matches]:
    """Match predictions to the ground truth, image by image.

    Parameters
    ----------
    problems : sequence of Problem
        The images.
    value : str, optional
        Only masks with this value count; all others are ignored, as are masks of other sizes.

    Returns
    -------
    list of Matches
        One for each image.
    """
    counted = [_counted(p.truth, value) for p in problems]
    results = [_unmatched(p, areas) for p, areas in zip(problems, counted, strict=True)]
    busy = [i for i, p in enumerate(problems) if len(p.left)]
    for image_id, area_range, detail in _evaluate([(problems[i], counted[i]) for i in busy]):
        place = busy[image_id - 1]
        left, result = problems[place].left, results[place]
        matched = np.array(detail["dtMatches"]) > 0
        ignored = np.array(detail["dtIgnore"], dtype=bool)
        result.matched[area_range, left] = pack(matched)
        result.ignored[area_range, left] = pack(ignored)
    return results


def _counted(truth: TruthSet, value: str | None) -> NDArray[np.float64]:
    """Areas, with those of masks of another value outside of all ranges."""
    if value is None:
        return truth.areas
    mine = np.array([v == value for v in truth.values], dtype=bool)
    return np.where(mine, truth.areas, _OUTSIDE)


def _unmatched(p: Problem, areas: NDArray[np.float64]) -> Matches:
    n = len(p.found.scores)
    outside = [~in_range(p.found.table.areas, name) for name in RANGES]
    positives = [int((in_range(areas, name) & ~p.truth.crowd).sum()) for name in RANGES]
    return Matches(
        scores=p.found.scores,
        matched=np.zeros((len(RANGES), n), dtype=np.uint16),
        ignored=np.array(outside, dtype=np.uint16).reshape(len(RANGES), n) * _EVERY,
        positives=np.array(positives, dtype=np.int64),
    )


def _evaluate(
    problems: Sequence[tuple[Problem, NDArray[np.float64]]],
) -> list[tuple[int, int, dict[str, Any]]]:
    """Return (image number from 1, index of the size range, details) of all images."""
    if not problems:
        return []
    truth, found = hotcoco.COCO(_truth(problems)), _found(problems)
    evaluator = hotcoco.COCOeval(truth, truth.load_res(found), "segm")
    evaluator.params.use_cats = False
    evaluator.params.max_dets = [max(len(p.left) for p, _ in problems)]
    evaluator.params.iou_thrs = THRESHOLDS.tolist()
    evaluator.params.area_rng = [list(limits) for limits in RANGES.values()]
    evaluator.params.area_rng_lbl = list(RANGES)
    evaluator.evaluate()
    index = {limits: i for i, limits in enumerate(RANGES.values())}
    return [(e["image_id"], index[tuple(e["aRng"])], e) for e in evaluator.eval_imgs if e]


def _truth(problems: Sequence[tuple[Problem, NDArray[np.float64]]]) -> dict[str, Any]:
    images, annotations = [], []
    for number, (p, areas) in enumerate(problems, start=1):
        height, width = p.truth.table.size
        images.append({"id": number, "height": height, "width": width, "file_name": ""})
        for i in p.right.tolist():
            entry = _entry(number, p.truth.rles[i])
            entry |= {"id": len(annotations) + 1, "iscrowd": int(p.truth.crowd[i])}
            annotations.append(entry | {"area": float(areas[i]), "bbox": [0, 0, 0, 0]})
    categories = [{"id": 1, "name": "entity"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def _found(problems: Sequence[tuple[Problem, NDArray[np.float64]]]) -> list[dict[str, Any]]:
    return [
        # Ranks, since the order is all that matters here.
        _entry(number, p.found.rles[i]) | {"score": -float(i)}
        for number, (p, _) in enumerate(problems, start=1)
        for i in p.left.tolist()
    ]


def _entry(image_id: int, rle: Rle) -> dict[str, Any]:
    counts = rle["counts"]
    text = counts.decode() if isinstance(counts, bytes) else counts
    mask = {"size": list(rle["size"]), "counts": text}
    return {"image_id": image_id, "category_id": 1, "segmentation": mask}
