"""The greedy matching of COCO, by hotcoco, over a chunk of images.

hotcoco is a port of pycocotools that shows, image by image, which predictions it matched, and
releases the GIL. It is given only masks that can match, every cluster of them as an image of its
own (see :mod:`~unsam_cli.evaluation.overlap`); the rest is unmatched by definition.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import hotcoco
import numpy as np
from numpy.typing import NDArray

from unsam_cli.evaluation.matches import RANGES, THRESHOLDS, Matches, in_range, pack
from unsam_cli.evaluation.overlap import clusters
from unsam_cli.evaluation.sets import PredictionSet, TruthSet
from unsam_cli.rle import Rle

_EVERY = np.uint16(2 ** len(THRESHOLDS) - 1)
NO_VALUE = "\0"  # no annotation has it
_OUTSIDE = -1.0  # an area that belongs to no size range, so that a mask is ignored in all


@dataclass(frozen=True, slots=True)
class Problem:
    """One image to match.

    Attributes
    ----------
    truth, found : TruthSet, PredictionSet
        Its masks.
    clusters : list of ((n,) int64, (m,) int64)
        The predictions and the ground truth that can match.
    """

    truth: TruthSet
    found: PredictionSet
    clusters: list[tuple[NDArray[np.int64], NDArray[np.int64]]]


@dataclass(frozen=True, slots=True)
class _Cluster:
    """One cluster of an image: masks, and the areas of the ground truth."""

    place: int
    found: list[Rle]
    truth: list[Rle]
    areas: list[float]
    crowd: list[bool]
    left: NDArray[np.int64]

    @property
    def uniform(self) -> bool:
        """Whether every size range holds all of the ground truth, or none, and there are no crowds.

        Matching goes by which masks are ignored relative to others, so it is then the same in all.
        """
        areas = np.array(self.areas)
        inside = [in_range(areas, name) for name in RANGES]
        return not any(self.crowd) and all((i == i[0]).all() for i in inside)


def problem(truth: TruthSet, found: PredictionSet) -> Problem:
    """Prepare one image for :func:`match`."""
    return Problem(truth, found, clusters(truth, found, threshold=float(THRESHOLDS[0])))


def match(problems: Sequence[Problem], *, value: str | None = None) -> list[Matches]:
    """Match predictions to the ground truth, image by image.

    Parameters
    ----------
    problems : sequence of Problem
        The images.
    value : str, optional
        Only masks with this value count; all others are ignored, as are masks of other sizes.
        `NO_VALUE`: none counts.

    Returns
    -------
    list of Matches
        One for each image.
    """
    areas = [_counted(p.truth, value) for p in problems]
    results = [_unmatched(p, a) for p, a in zip(problems, areas, strict=True)]
    parts = [
        part
        for place, (p, a) in enumerate(zip(problems, areas, strict=True))
        for part in _parts(place, p, a)
    ]
    for part, _, detail in _evaluate([p for p in parts if p.uniform], ["all"]):
        _set_all_ranges(results[part.place], part, pack(np.array(detail["dtMatches"]) > 0))
    for part, area_range, detail in _evaluate([p for p in parts if not p.uniform], list(RANGES)):
        matched = np.array(detail["dtMatches"]) > 0
        ignored = np.array(detail["dtIgnore"], dtype=bool)
        results[part.place].matched[area_range, part.left] = pack(matched)
        results[part.place].ignored[area_range, part.left] = pack(ignored)
    return results


def _set_all_ranges(result: Matches, part: _Cluster, matched: NDArray[np.uint16]) -> None:
    """Store the matching of a cluster in which all size ranges give the same one."""
    for area_range, name in enumerate(RANGES):
        counts = bool(in_range(np.array(part.areas[:1]), name)[0])
        unmatched = result.ignored[area_range, part.left] & ~matched
        result.matched[area_range, part.left] = matched
        result.ignored[area_range, part.left] = unmatched | (np.uint16(0) if counts else matched)


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


def _parts(place: int, p: Problem, areas: NDArray[np.float64]) -> Iterator[_Cluster]:
    for left, right in p.clusters:
        yield _Cluster(
            place,
            found=[p.found.rles[i] for i in left],
            truth=[p.truth.rles[i] for i in right],
            areas=areas[right].tolist(),
            crowd=p.truth.crowd[right].tolist(),
            left=left,
        )


def _evaluate(
    parts: Sequence[_Cluster], ranges: Sequence[str]
) -> Iterator[tuple[_Cluster, int, dict[str, Any]]]:
    """Yield (cluster, index of the size range, details)."""
    if not parts:
        return
    truth = hotcoco.COCO(_truth(parts))
    evaluator = hotcoco.COCOeval(truth, truth.load_res(_found(parts)), "segm")
    evaluator.params.use_cats = False
    evaluator.params.max_dets = [max(len(part.left) for part in parts)]
    evaluator.params.iou_thrs = THRESHOLDS.tolist()
    evaluator.params.area_rng = [list(RANGES[name]) for name in ranges]
    evaluator.params.area_rng_lbl = list(ranges)
    evaluator.evaluate()
    index = {limits: i for i, limits in enumerate(RANGES.values())}
    for detail in evaluator.eval_imgs:
        if detail is not None:
            yield parts[detail["image_id"] - 1], index[tuple(detail["aRng"])], detail


def _truth(parts: Sequence[_Cluster]) -> dict[str, Any]:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, part in enumerate(parts, start=1):
        height, width = part.truth[0]["size"]
        images.append({"id": number, "height": height, "width": width, "file_name": ""})
        for rle, area, crowd in zip(part.truth, part.areas, part.crowd, strict=True):
            own = {"id": len(annotations) + 1, "iscrowd": int(crowd), "area": area}
            annotations.append(_entry(number, rle) | own | {"bbox": [0, 0, 0, 0]})
    categories = [{"id": 1, "name": "entity"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def _found(parts: Sequence[_Cluster]) -> list[dict[str, Any]]:
    return [
        # Ranks, since the order is all that matters here.
        _entry(number, rle) | {"score": -float(rank)}
        for number, part in enumerate(parts, start=1)
        for rank, rle in enumerate(part.found)
    ]


def _entry(image_id: int, rle: Rle) -> dict[str, Any]:
    counts = rle["counts"]
    text = counts.decode() if isinstance(counts, bytes) else counts
    mask = {"size": list(rle["size"]), "counts": text}
    return {"image_id": image_id, "category_id": 1, "segmentation": mask}
