"""Evaluate one image of opened files."""

from __future__ import annotations

from dataclasses import dataclass

from unsam_cli.evaluation.matches import Contribution, FileResult
from unsam_cli.evaluation.matching import NO_VALUE, candidates, match
from unsam_cli.evaluation.pairing import Predictions
from unsam_cli.evaluation.points import point_result
from unsam_cli.evaluation.sets import TruthSet, prediction_set, truth_set, with_pixels
from unsam_cli.evaluation.settings import EvaluateSettings
from unsam_cli.io.image_entries import ImageInfo
from unsam_cli.io.masks import MasksFile


@dataclass(frozen=True)
class Inputs:
    """The opened files, and the settings of the evaluation."""

    truth: MasksFile
    predictions: list[Predictions]
    settings: EvaluateSettings


def evaluate_image(image: ImageInfo, inputs: Inputs) -> Contribution:
    """Compare the predictions of one image, of all files, with its ground truth.

    Raises
    ------
    UnsamError
        A mask is invalid, or lacks a key that is needed.
    """
    return (_points if inputs.settings.protocol == "point" else _whole)(image, inputs)


def _whole(image: ImageInfo, inputs: Inputs) -> Contribution:
    truth = truth_set(inputs.truth, image.id, by=inputs.settings.by)
    return Contribution(
        image_id=image.id,
        file_name=image.file_name,
        truths=int((~truth.crowd).sum()),
        crowds=int(truth.crowd.sum()),
        odd_areas=truth.odd_areas,
        empty=truth.empty,
        files=[_file_result(image, truth, p, inputs.settings) for p in inputs.predictions],
    )


def _file_result(
    image: ImageInfo, truth: TruthSet, predictions: Predictions, settings: EvaluateSettings
) -> FileResult:
    found = prediction_set(
        predictions.masks,
        predictions.ids.get(image.id),
        size=(image.height, image.width),
        keep=settings.max_dets[-1],
        score_key=settings.ranked_by,
    )
    pairs = candidates(truth, found)
    values = sorted({value for value in truth.values if value is not None})
    return FileResult(
        predictions=found.total,
        category_zero=found.category_zero,
        matches=match(pairs),
        by={value: match(pairs, value=value) for value in values},
        rest=None if settings.by is None else match(pairs, value=NO_VALUE),
    )


def _points(image: ImageInfo, inputs: Inputs) -> Contribution:
    every = inputs.truth.annotations_of(image.id)
    truth = with_pixels(every)
    return Contribution(
        image_id=image.id,
        file_name=image.file_name,
        truths=sum(not a.iscrowd for a in truth),
        crowds=sum(a.iscrowd for a in truth),
        empty=len(every) - len(truth),
        points=[
            point_result(
                truth,
                {a.id for a in every},
                p.masks,
                p.ids.get(image.id),
                size=(image.height, image.width),
                score_key=inputs.settings.ranked_by,
            )
            for p in inputs.predictions
        ],
    )
