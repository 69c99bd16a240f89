"""Evaluate the images of opened files, a few at a time."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from unsam_cli.errors import UnsamError
from unsam_cli.evaluation.engine import NO_VALUE, match, problem
from unsam_cli.evaluation.matches import FileResult, ImageResult
from unsam_cli.evaluation.pairing import Predictions
from unsam_cli.evaluation.points import point_result
from unsam_cli.evaluation.sets import PredictionSet, TruthSet, prediction_set, truth_set
from unsam_cli.evaluation.settings import EvaluateSettings
from unsam_cli.io.masks import MasksFile
from unsam_cli.run.parallel import attempt, ordered_map
from unsam_cli.run.progress import Reporter
from unsam_cli.run.runner import ErrorList
from unsam_cli.run.shards import Shard

logger = logging.getLogger(__name__)

CHUNK = 8  # images; more would only cost memory
Chunk = Sequence[tuple[int, int]]  # index and id of images
Result = tuple[list[ImageResult], Counter[str]]
Work = Callable[[Chunk], Result]


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
    chunks = [mine[i : i + CHUNK] for i in range(0, len(mine), CHUNK)]
    work: Work
    work = partial(_points if inputs.settings.protocol == "point" else _whole, inputs)
    images: list[ImageResult] = []
    notes: Counter[str] = Counter()
    with closing(ordered_map(work, chunks, jobs=jobs)) as results:
        for chunk, result in results:
            for (_, image_id), one in _apart(work, chunk, result):
                if isinstance(one, UnsamError):
                    errors.add(inputs.truth.images[image_id], one)
                else:
                    images += one[0]
                    notes += one[1]
                progress.advance(skipped=isinstance(one, UnsamError))
    for note, count in sorted(notes.items()):
        logger.warning("%d %s", count, note)
    return images


def _apart(
    work: Work, chunk: Chunk, result: Result | UnsamError
) -> Iterator[tuple[tuple[int, int], Result | UnsamError]]:
    """Yield every image of a chunk with its result; after an error, try each image separately."""
    if isinstance(result, UnsamError):
        yield from ((place, attempt(partial(work, [place]))) for place in chunk)
        return
    images, notes = result
    for number, (place, image) in enumerate(zip(chunk, images, strict=True)):
        yield place, ([image], Counter() if number else notes)


def _whole(inputs: Inputs, chunk: Chunk) -> Result:
    """Evaluate some images as wholes."""
    truths = [truth_set(inputs.truth, image_id, by=inputs.settings.by) for _, image_id in chunk]
    notes = Counter(
        {
            "masks of the ground truth have an area that differs by more than 10 % from "
            "their pixels; size ranges use the area in the file, as in pycocotools": sum(
                t.odd_areas for t in truths
            )
        }
    )
    columns = [_file_results(inputs, p, chunk, truths, notes) for p in inputs.predictions]
    results = [
        ImageResult(
            index=index,
            image_id=image_id,
            file_name=inputs.truth.images[image_id].file_name,
            truths=int((~t.crowd).sum()),
            crowds=int(t.crowd.sum()),
            files=[column[place] for column in columns],
        )
        for place, ((index, image_id), t) in enumerate(zip(chunk, truths, strict=True))
    ]
    return results, +notes


def _file_results(
    inputs: Inputs,
    predictions: Predictions,
    chunk: Chunk,
    truths: Sequence[TruthSet],
    notes: Counter[str],
) -> list[FileResult]:
    found = [_predictions_of(inputs, predictions, i, notes) for _, i in chunk]
    problems = [problem(t, f) for t, f in zip(truths, found, strict=True)]
    every = match(problems)
    values = sorted({v for t in truths for v in t.values if v is not None})
    by = {value: match(problems, value=value) for value in values}
    rest = match(problems, value=NO_VALUE) if inputs.settings.by is not None else None
    return [
        FileResult(
            predictions=found[i].total,
            matches=every[i],
            by={value: by[value][i] for value in values if value in truths[i].values},
            rest=None if rest is None else rest[i],
        )
        for i in range(len(chunk))
    ]


def _predictions_of(
    inputs: Inputs, predictions: Predictions, image_id: int, notes: Counter[str]
) -> PredictionSet:
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
    return found


def _points(inputs: Inputs, chunk: Chunk) -> Result:
    """Evaluate the answers to prompts in some images."""
    results = []
    notes: Counter[str] = Counter()
    for index, image_id in chunk:
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
        results.append(
            ImageResult(
                index=index,
                image_id=image_id,
                file_name=image.file_name,
                truths=sum(not a.iscrowd for a in truth),
                crowds=sum(a.iscrowd for a in truth),
                points=points,
            )
        )
        for p, found in zip(inputs.predictions, points, strict=True):
            notes[f"masks of the ground truth have no prediction in {p.name}"] += found.missed
    return results, +notes
