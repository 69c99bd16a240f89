"""Evaluate the images of opened files."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from unsam_cli.errors import UnsamError
from unsam_cli.evaluation.matches import FileResult, ImageResult
from unsam_cli.evaluation.matching import NO_VALUE, candidates, match
from unsam_cli.evaluation.pairing import Predictions
from unsam_cli.evaluation.points import point_result
from unsam_cli.evaluation.sets import TruthSet, prediction_set, truth_set
from unsam_cli.evaluation.settings import EvaluateSettings
from unsam_cli.io.masks import MasksFile
from unsam_cli.run.parallel import ordered_map
from unsam_cli.run.progress import Reporter
from unsam_cli.run.runner import ErrorList
from unsam_cli.run.shards import Shard

logger = logging.getLogger(__name__)

Notes = Counter[str]


@dataclass(frozen=True)
class Inputs:
    """The opened files, and what is measured."""

    truth: MasksFile
    predictions: list[Predictions]
    settings: EvaluateSettings


def evaluate_images(
    inputs: Inputs, shard: Shard, errors: ErrorList, *, jobs: int, progress: Reporter
) -> list[ImageResult]:
    """Evaluate the images of a shard, by ascending id, and log warnings about the files.

    Raises
    ------
    UnsamError
        A mask is invalid, or lacks what is needed, and bad images are not skipped.
    """
    mine = shard.take(list(enumerate(sorted(inputs.truth.images))))
    one = partial(_points if inputs.settings.protocol == "point" else _whole, inputs)
    images: list[ImageResult] = []
    notes: Notes = Counter()
    with closing(ordered_map(one, mine, jobs=jobs)) as results:
        for (_, image_id), result in results:
            if isinstance(result, UnsamError):
                errors.add(inputs.truth.images[image_id], result)
            else:
                images.append(result[0])
                notes += result[1]
            progress.advance(skipped=isinstance(result, UnsamError))
    for note, count in sorted(notes.items()):
        logger.warning("%d %s", count, note)
    return images


def _whole(inputs: Inputs, place: tuple[int, int]) -> tuple[ImageResult, Notes]:
    """Evaluate an image as a whole."""
    index, image_id = place
    truth = truth_set(inputs.truth, image_id, by=inputs.settings.by)
    notes = Counter(
        {
            "masks of the ground truth have an area that differs by more than 10 % from "
            "their pixels; size ranges use the area in the file, as in pycocotools": truth.odd_areas
        }
    )
    result = ImageResult(
        index=index,
        image_id=image_id,
        file_name=inputs.truth.images[image_id].file_name,
        truths=int((~truth.crowd).sum()),
        crowds=int(truth.crowd.sum()),
        files=[_file_result(inputs, p, image_id, truth, notes) for p in inputs.predictions],
    )
    return result, +notes


def _file_result(
    inputs: Inputs, predictions: Predictions, image_id: int, truth: TruthSet, notes: Notes
) -> FileResult:
    image, settings = inputs.truth.images[image_id], inputs.settings
    found = prediction_set(
        predictions.masks,
        predictions.ids.get(image_id),
        size=(image.height, image.width),
        keep=settings.max_dets[-1],
        score_key=settings.ranked_by,
    )
    notes[
        f"predictions of {predictions.name} have category 0; evaluate ignores categories, "
        "but pycocotools and detectron2 drop category 0"
    ] += found.category_zero
    pairs = candidates(truth, found)
    values = sorted({value for value in truth.values if value is not None})
    return FileResult(
        predictions=found.total,
        matches=match(pairs),
        by={value: match(pairs, value=value) for value in values},
        rest=None if settings.by is None else match(pairs, value=NO_VALUE),
    )


def _points(inputs: Inputs, place: tuple[int, int]) -> tuple[ImageResult, Notes]:
    """Evaluate the answers to prompts in an image."""
    index, image_id = place
    image, truth = inputs.truth.images[image_id], inputs.truth.annotations_of(image_id)
    points = [
        point_result(
            truth,
            p.masks,
            p.ids.get(image_id),
            size=(image.height, image.width),
            score_key=inputs.settings.ranked_by,
        )
        for p in inputs.predictions
    ]
    notes: Notes = Counter()
    for p, found in zip(inputs.predictions, points, strict=True):
        notes[f"masks of the ground truth have no prediction in {p.name}"] += found.missed
    result = ImageResult(
        index=index,
        image_id=image_id,
        file_name=image.file_name,
        truths=sum(not a.iscrowd for a in truth),
        crowds=sum(a.iscrowd for a in truth),
        points=points,
    )
    return result, +notes
