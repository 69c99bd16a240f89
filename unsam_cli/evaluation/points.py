"""Metrics of masks from prompts, compared with the masks that were prompted for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unsam_cli.errors import DataError
from unsam_cli.evaluation.clicks import NOC_LEVELS, clicks_needed
from unsam_cli.evaluation.matches import PointResult
from unsam_cli.evaluation.metrics import Metrics
from unsam_cli.evaluation.records import Records, of_sound_records
from unsam_cli.evaluation.sets import rle_of, score_of, table_of
from unsam_cli.evaluation.settings import MAX_CLICKS
from unsam_cli.io.annotations import Annotation
from unsam_cli.io.masks import MasksFile
from unsam_cli.io.values import whole
from unsam_cli.rle import Rle, iou

POINT_METRICS = ("1-IoU-max", "1-IoU-oracle", "NoC@80", "NoC@90")
Prompt = tuple[str, int]


def point_result(
    truth: Sequence[Annotation],
    known: set[int],
    masks: MasksFile,
    image_id: int | None,
    *,
    size: tuple[int, int],
    score_key: str | None,
) -> PointResult:
    """Measure the masks of one image against the masks they were prompted for.

    Every mask of the ground truth except crowd regions is a segment. A segment without predictions
    counts as missed. The result of a segment with several prompts is their mean.

    Parameters
    ----------
    truth : sequence of Annotation
        Ground truth of the image.
    known : set of int
        Ids of all annotations of the image, including those that are no targets.
    masks : MasksFile
        Predictions with the key `target_id`, the annotation that the prompt was for. `prompt_id`
        distinguishes several prompts of a target, and `clicks` is the number of clicks, by default
        1.
    image_id : int, optional
        Id of the image in `masks`; None if `masks` does not have it.
    size : (H, W)
        Height and width of the image, in pixels.
    score_key : str, optional
        Key that ranks the masks of a prompt.

    Raises
    ------
    DataError
        A prediction has no target, its target is not in this image, or its mask is invalid; if
        `masks` was opened so, the prediction is left out instead.

    References
    ----------
    Li et al., Semantic-SAM, 2023, section 4: "1-IoU", Max and Oracle.
    """
    targets = {a.id: a for a in truth if not a.iscrowd}

    def read(records: Records) -> dict[Prompt, list[tuple[float, int, Rle]]]:
        return _prompts(records, known, size, score_key)

    prompts = of_sound_records(masks, image_id, read)
    told = any(click for masks_of in prompts.values() for _, click, _ in masks_of)
    found: dict[int, list[list[float]]] = defaultdict(list)
    for (_, target), answers in prompts.items():
        if target in targets:
            found[target].append(_measure(answers, targets[target].rle))
    missed = [0.0, 0.0, float(MAX_CLICKS), float(MAX_CLICKS)]
    segments = [np.mean(found.get(t, [missed]), axis=0).tolist() for t in targets]
    return PointResult(
        sum(map(len, prompts.values())), segments, told, len(targets.keys() - found.keys())
    )


def measure_points(images: Sequence[PointResult]) -> Metrics:
    """Average over the segments of all images; clicks are None if the file does not have them."""
    rows = np.array([row for image in images for row in image.segments], dtype=np.float64)
    if not len(rows):
        return dict.fromkeys(POINT_METRICS)
    told = any(image.clicks for image in images)
    return {
        name: float(rows[:, i].mean()) if told or not name.startswith("NoC") else None
        for i, name in enumerate(POINT_METRICS)
    }


def _prompts(
    records: Records, known: set[int], size: tuple[int, int], score_key: str | None
) -> dict[Prompt, list[tuple[float, int, Rle]]]:
    """Collect score, clicks (0 if unknown) and mask of every prediction, by prompt."""
    prompts: dict[Prompt, list[tuple[float, int, Rle]]] = defaultdict(list)
    rles = [rle_of(name, record, size) for name, record in records]
    table_of([name for name, _ in records], rles, size)
    for (name, record), rle in zip(records, rles, strict=True):
        target = _target(name, record)
        if target not in known:
            raise DataError(
                f"{name}: target_id {target} is not an annotation of this image in the "
                "ground truth; were the prompts made from another file?"
            )
        clicks = _whole(name, record, "clicks", default=0)
        answer = (score_of(name, record, score_key), clicks, rle)
        prompts[str(record.get("prompt_id")), target].append(answer)
    return prompts


def _target(name: str, record: dict[str, Any]) -> int:
    if "target_id" not in record:
        raise DataError(
            f"{name}: has no target_id (the prompted mask); run predict --prompts-from "
            "GROUND_TRUTH, or use --protocol whole-image"
        )
    return _whole(name, record, "target_id")


def _whole(name: str, record: dict[str, Any], key: str, *, default: int | None = None) -> int:
    try:
        return whole(record, key, default=default)
    except ValueError as error:
        raise DataError(f"{name}: {error}; fix or remove it") from error


def _measure(answers: Sequence[tuple[float, int, Rle]], target: Rle) -> list[float]:
    """Return Max, Oracle and numbers of clicks of one prompt."""
    ious = iou([rle for _, _, rle in answers], [target])[:, 0]
    scores = np.array([score for score, _, _ in answers])
    clicks = np.maximum([click for _, click, _ in answers], 1)
    first = clicks == clicks.min()
    best = ious[first][scores[first].argmax()]
    after = _after_every_click(ious, scores, clicks)
    needed = [float(clicks_needed(after, level)) for level in NOC_LEVELS]
    return [float(best), float(ious[first].max()), *needed]


def _after_every_click(
    ious: NDArray[np.float64], scores: NDArray[np.float64], clicks: NDArray[np.int64]
) -> NDArray[np.float64]:
    """IoU of the mask with the highest score after every click; 0 if there is no mask."""
    after = np.zeros(MAX_CLICKS)
    for click in np.unique(clicks[clicks <= MAX_CLICKS]):
        mine = clicks == click
        after[click - 1] = ious[mine][scores[mine].argmax()]
    return after
