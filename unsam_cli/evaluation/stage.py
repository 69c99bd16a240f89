"""The whole of ``unsam evaluate``: files in, a report out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from unsam_cli.errors import UsageError
from unsam_cli.evaluation.files import write_per_image
from unsam_cli.evaluation.images import Inputs, evaluate_images
from unsam_cli.evaluation.matches import ImageResult
from unsam_cli.evaluation.pairing import pair
from unsam_cli.evaluation.partial import write_part, write_report
from unsam_cli.evaluation.plot import check_plot, draw
from unsam_cli.evaluation.report import Header, build_report
from unsam_cli.evaluation.settings import EvaluateSettings
from unsam_cli.io.masks import read_masks
from unsam_cli.run.inputs import STDIN, local_file, name_of
from unsam_cli.run.output import STDOUT, check_output, publish
from unsam_cli.run.progress import LineReporter, ReporterFactory
from unsam_cli.run.provenance import Step, masks_identity
from unsam_cli.run.resources import usable_cpus
from unsam_cli.run.runner import ErrorList
from unsam_cli.run.shards import Shard


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
    on_error : {'fail', 'skip'}
        Whether an image with an invalid mask ends the evaluation, or is left out of it and listed
        in ``OUTPUT.errors.jsonl``.
    """

    output: str | None = None
    no_clobber: bool = False
    per_image: Path | None = None
    plot: Path | None = None
    shard: Shard = field(default_factory=Shard)
    jobs: int = field(default_factory=usable_cpus)
    step: Step = field(default_factory=lambda: Step("evaluate"))
    progress: ReporterFactory = LineReporter
    on_error: str = "fail"


class Evaluation(NamedTuple):
    """What :func:`evaluate` gives.

    Attributes
    ----------
    report : dict or None
        As :func:`~unsam_cli.evaluation.report.build_report` makes it; None for a shard, of which a
        part was written.
    skipped : int
        Images that were left out because of an error.
    """

    report: dict[str, Any] | None
    skipped: int


def evaluate(
    truth: str,
    predictions: Sequence[str],
    settings: EvaluateSettings,
    outputs: EvaluateOutputs,
) -> Evaluation:
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
    Evaluation
        The report, and how many images were skipped.

    Raises
    ------
    UnsamError
        An input is missing, invalid, or would give misleading numbers.
    """
    _check(truth, predictions, settings, outputs)
    with ExitStack() as stack:
        paths = [stack.enter_context(local_file(name)) for name in (truth, *predictions)]
        names = [name_of(argument) for argument in (truth, *predictions)]
        files = [read_masks(path, name=name) for path, name in zip(paths, names, strict=True)]
        pairs = [
            pair(files[0], names[0], masks, name, match=settings.match)
            for masks, name in zip(files[1:], names[1:], strict=True)
        ]
        header = _header(names[1:], paths, settings, outputs.step, len(files[0].images))
        inputs = Inputs(files[0], pairs, settings)
        total = len(outputs.shard.take(list(files[0].images)))
        errors = ErrorList(outputs.output or STDOUT, "evaluate", outputs.on_error)
        with outputs.progress("evaluate", total) as progress:
            images = evaluate_images(
                inputs, outputs.shard, errors, jobs=outputs.jobs, progress=progress
            )
    return Evaluation(_publish(header, images, errors.count, outputs), errors.count)


def _check(
    truth: str, predictions: Sequence[str], settings: EvaluateSettings, outputs: EvaluateOutputs
) -> None:
    if [truth, *predictions].count(STDIN) > 1:
        raise UsageError("only one file can be read from standard input")
    if settings.by is not None and settings.protocol == "point":
        raise UsageError("--by needs --protocol whole-image")
    if outputs.plot is not None:
        if outputs.shard.count > 1 or settings.protocol == "point":
            raise UsageError("--plot needs --protocol whole-image and all images: remove --shard")
        check_plot(outputs.plot)
    for path in (outputs.output, outputs.per_image, outputs.plot):
        if path is not None:
            check_output(str(path), binary=False, no_clobber=outputs.no_clobber)


def _header(
    names: Sequence[str], paths: Sequence[Path], settings: EvaluateSettings, step: Step, images: int
) -> Header:
    truth, *others = [masks_identity(path) for path in paths]
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


def _publish(
    header: Header, images: Sequence[ImageResult], skipped: int, outputs: EvaluateOutputs
) -> dict[str, Any] | None:
    if outputs.per_image is not None:
        publish(str(outputs.per_image), lambda path: write_per_image(path, header, images))
    if outputs.shard.count > 1:
        publish(
            outputs.output or STDOUT,
            lambda path: write_part(path, header, outputs.shard, images, skipped=skipped),
        )
        return None
    report = build_report(header, images, skipped=skipped)
    if outputs.output is not None:
        publish(outputs.output, lambda path: write_report(path, report))
    if outputs.plot is not None:
        kind = outputs.plot.suffix[1:].lower()
        publish(str(outputs.plot), lambda path: draw(path, report, kind=kind))
    return report
