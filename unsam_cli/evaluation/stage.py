"""The whole of ``unsam evaluate``: files in, a report out."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from unsam_cli.errors import DataError, UnsamError, UsageError
from unsam_cli.evaluation.engine import NO_VALUE, match, problem
from unsam_cli.evaluation.files import write_per_image
from unsam_cli.evaluation.matches import FileResult, ImageResult
from unsam_cli.evaluation.pairing import Match, Predictions, pair
from unsam_cli.evaluation.partial import write_part, write_report
from unsam_cli.evaluation.plot import check_plot, draw
from unsam_cli.evaluation.points import point_result
from unsam_cli.evaluation.report import Header, build_report
from unsam_cli.evaluation.sets import PredictionSet, TruthSet, prediction_set, truth_set
from unsam_cli.io.masks import MasksFile, read_masks
from unsam_cli.run.inputs import STDIN, local_file
from unsam_cli.run.output import check_output, publish
from unsam_cli.run.parallel import ordered_map
from unsam_cli.run.progress import LineReporter, ReporterFactory
from unsam_cli.run.provenance import Step, content_identity
from unsam_cli.run.resources import usable_cpus
from unsam_cli.run.shards import Shard

logger = logging.getLogger(__name__)

CHUNK = 8  # images; more would only cost memory


@dataclass(frozen=True)
class EvaluateSettings:
    """What is measured.

    Parameters
    ----------
    protocol : {'whole-image', 'point'}
        All masks of an image, ranked by score; or the answers to prompts.
    max_dets : tuple of int
        Predictions kept of every image, for AR; AP is that of the largest.
    by : str, optional
        Key of the ground truth's annotations: metrics also for each of its values.
    match : {'id', 'file-name'}
        How images of the files are matched.
    score_key : str, optional
        What ranks predictions; None: their order in the file.
    bootstrap : int
        Draws of images for the intervals of differences.
    seed : int
        Seeds them.
    """

    protocol: Literal["whole-image", "point"] = "whole-image"
    max_dets: tuple[int, ...] = (1, 10, 100, 1000)
    by: str | None = None
    match: Match = "id"
    score_key: str | None = "score"
    bootstrap: int = 1000
    seed: int = 0


@dataclass(frozen=True)
class EvaluateOutputs:
    """Where results go, and how the work is done.

    Parameters
    ----------
    output : str, optional
        The report as JSON, ``-`` is standard output; a part of it for a shard.
    no_clobber : bool
        Refuse to replace an output.
    per_image, plot : Path, optional
        Metrics of every image as CSV; a picture.
    shard : Shard
        The part of the images to evaluate.
    jobs : int
        Worker threads.
    step : Step
        The command, for the history.
    progress : callable
        Makes a progress reporter.
    """

    output: str | None = None
    no_clobber: bool = False
    per_image: Path | None = None
    plot: Path | None = None
    shard: Shard = field(default_factory=Shard)
    jobs: int = field(default_factory=usable_cpus)
    step: Step = field(default_factory=lambda: Step("evaluate"))
    progress: ReporterFactory = LineReporter


@dataclass(frozen=True)
class _Inputs:
    """The opened files."""

    truth: MasksFile
    predictions: list[Predictions]
    settings: EvaluateSettings


def evaluate(
    truth: str,
    predictions: Sequence[str],
    settings: EvaluateSettings,
    outputs: EvaluateOutputs,
) -> dict[str, Any] | None:
    """Compare one or more files of predictions with a ground truth.

    Parameters
    ----------
    truth : str
        Masks file of any form that lists its images; ``-`` is standard input.
    predictions : sequence of str
        Masks files of any form; one of all files may be ``-``.
    settings : EvaluateSettings
        What is measured.
    outputs : EvaluateOutputs
        Where results go.

    Returns
    -------
    dict or None
        The report; None for a shard, of which a part was written.

    Raises
    ------
    UnsamError
        An input is missing, invalid, or would give misleading numbers.
    """
    _check(truth, predictions, settings, outputs)
    with ExitStack() as stack:
        paths = [stack.enter_context(local_file(name)) for name in (truth, *predictions)]
        names = ["standard input" if n == STDIN else n for n in (truth, *predictions)]
        files = [read_masks(path) for path in paths]
        pairs = [
            pair(files[0], names[0], masks, name, match=settings.match)
            for masks, name in zip(files[1:], names[1:], strict=True)
        ]
        header = _header(names[1:], paths, settings, outputs.step, len(files[0].images))
        images = _images(_Inputs(files[0], pairs, settings), outputs)
    return _publish(header, images, outputs)


def _check(
    truth: str, predictions: Sequence[str], settings: EvaluateSettings, outputs: EvaluateOutputs
) -> None:
    if [truth, *predictions].count(STDIN) > 1:
        raise UsageError("only one file can come from standard input")
    if settings.by is not None and settings.protocol == "point":
        raise UsageError("--by needs --protocol whole-image")
    if outputs.plot is not None:
        if outputs.shard.count > 1 or settings.protocol == "point":
            raise UsageError("--plot needs whole images, all of them: leave out --shard")
        check_plot(outputs.plot)
    for path in (outputs.output, outputs.per_image, outputs.plot):
        if path is not None:
            check_output(str(path), binary=False, no_clobber=outputs.no_clobber)


def _header(
    names: Sequence[str], paths: Sequence[Path], settings: EvaluateSettings, step: Step, images: int
) -> Header:
    truth, *others = [content_identity(path) for path in paths]
    inputs = {"ground-truth": truth} | {
        f"predictions-{i}": identity for i, identity in enumerate(others, start=1)
    }
    return Header(
        history=[step.with_inputs(**inputs).to_json()],
        names=_labels(names),
        protocol=settings.protocol,
        max_dets=list(settings.max_dets),
        by=settings.by,
        bootstrap=settings.bootstrap,
        seed=settings.seed,
        images=images,
    )


def _labels(names: Sequence[str]) -> list[str]:
    """Name files by their last part, or by as much of the path as tells them apart."""
    parts = [Path(name).parts for name in names]
    for count in range(1, max(map(len, parts)) + 1):
        labels = ["/".join(p[-count:]) for p in parts]
        if len(set(labels)) == len(labels):
            return labels
    return [f"{i}: {Path(name).name}" for i, name in enumerate(names, start=1)]


def _images(inputs: _Inputs, outputs: EvaluateOutputs) -> list[ImageResult]:
    order = list(enumerate(sorted(inputs.truth.images)))
    mine = outputs.shard.take(order)
    chunks = [mine[i : i + CHUNK] for i in range(0, len(mine), CHUNK)]
    work: Callable[[Sequence[tuple[int, int]]], tuple[list[ImageResult], Counter[str]]]
    work = partial(_points if inputs.settings.protocol == "point" else _whole, inputs)
    images: list[ImageResult] = []
    notes: Counter[str] = Counter()
    with outputs.progress("evaluate", len(mine)) as progress:
        for _, result in ordered_map(work, chunks, jobs=outputs.jobs):
            if isinstance(result, UnsamError):
                raise result
            images += result[0]
            notes += result[1]
            for _ in result[0]:
                progress.advance()
    for note, count in sorted(notes.items()):
        logger.warning("%d %s", count, note)
    return images


def _whole(
    inputs: _Inputs, chunk: Sequence[tuple[int, int]]
) -> tuple[list[ImageResult], Counter[str]]:
    """Evaluate some images as wholes."""
    truths = [truth_set(inputs.truth, image_id, by=inputs.settings.by) for _, image_id in chunk]
    notes = Counter(
        {
            "masks of the ground truth have an area more than 10 % off the pixels they cover; "
            "size ranges go by the area in the file, as in pycocotools": sum(
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
    inputs: _Inputs,
    predictions: Predictions,
    chunk: Sequence[tuple[int, int]],
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
    inputs: _Inputs, predictions: Predictions, image_id: int, notes: Counter[str]
) -> PredictionSet:
    image, settings = inputs.truth.images[image_id], inputs.settings
    found = prediction_set(
        predictions.masks,
        predictions.ids.get(image_id),
        size=(image.height, image.width),
        keep=settings.max_dets[-1],
        score_key=settings.score_key,
    )
    notes[
        f"predictions of {predictions.name} are of category 0; categories play no part here, but "
        "pycocotools and detectron2 drop 0"
    ] += found.category_zero
    return found


def _points(
    inputs: _Inputs, chunk: Sequence[tuple[int, int]]
) -> tuple[list[ImageResult], Counter[str]]:
    """Evaluate the answers to prompts in some images."""
    results = []
    for index, image_id in chunk:
        image, truth = inputs.truth.images[image_id], inputs.truth.annotations_of(image_id)
        results.append(
            ImageResult(
                index=index,
                image_id=image_id,
                file_name=image.file_name,
                truths=sum(not a.iscrowd for a in truth),
                crowds=sum(a.iscrowd for a in truth),
                points=[
                    point_result(
                        truth,
                        p.masks,
                        p.ids.get(image_id),
                        size=(image.height, image.width),
                        score_key=inputs.settings.score_key,
                    )
                    for p in inputs.predictions
                ],
            )
        )
    return results, Counter()


def _publish(
    header: Header, images: Sequence[ImageResult], outputs: EvaluateOutputs
) -> dict[str, Any] | None:
    if outputs.per_image is not None:
        publish(str(outputs.per_image), lambda path: write_per_image(path, header, images))
    if outputs.shard.count > 1:
        publish(outputs.output or "-", lambda path: write_part(path, header, outputs.shard, images))
        return None
    report = build_report(header, images)
    if outputs.output is not None:
        publish(outputs.output, lambda path: write_report(path, report))
    if outputs.plot is not None:
        kind = outputs.plot.suffix[1:].lower()
        publish(str(outputs.plot), lambda path: draw(path, report, kind=kind))
    return report
