"""The whole of ``unsam evaluate``: files in, a report out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

from unsam_cli.errors import UsageError
from unsam_cli.evaluation.images import Inputs, evaluate_image
from unsam_cli.evaluation.pairing import Predictions, pair
from unsam_cli.evaluation.settings import EvaluateSettings
from unsam_cli.evaluation.sinks import EvaluateOutputs, ReportSink
from unsam_cli.io.image_entries import ImageInfo
from unsam_cli.io.left_out import LeftOut
from unsam_cli.io.masks import MasksFile, read_masks
from unsam_cli.io.masks_table import Form
from unsam_cli.run.charts import check_chart
from unsam_cli.run.inputs import STDIN, local_file, name_of
from unsam_cli.run.output import check_output
from unsam_cli.run.parallel import ordered_map
from unsam_cli.run.provenance import masks_identity
from unsam_cli.run.runner import run_items
from unsam_cli.run.settings import RunSettings


class Evaluation(NamedTuple):
    """The result of :func:`evaluate`.

    Attributes
    ----------
    report : dict or None
        Report from :func:`~unsam_cli.evaluation.report.build_report`; None for a shard, which
        writes a part.
    code : int
        The exit code.
    """

    report: dict[str, Any] | None
    code: int


def evaluate(
    truth: str,
    predictions: Sequence[str],
    settings: EvaluateSettings,
    run: RunSettings,
    outputs: EvaluateOutputs,
) -> Evaluation:
    """Compare one or more files of predictions with a ground truth.

    Parameters
    ----------
    truth : str
        Masks file of any form that lists its images; ``-`` is standard input.
    predictions : sequence of str
        Masks files of any form. Only one of all files may be ``-``.
    settings : EvaluateSettings
        The metrics, and how they are computed.
    run : RunSettings
        Output and the other settings that all commands share.
    outputs : EvaluateOutputs
        The files to write.

    Raises
    ------
    UnsamError
        An input is missing, invalid, or would give misleading numbers.
    """
    arguments = (truth, *predictions)
    _check(arguments, settings, run, outputs)
    names = [name_of(argument) for argument in arguments]
    with ExitStack() as stack:
        paths = [stack.enter_context(local_file(argument)) for argument in arguments]
        read = partial(read_masks, on_error=run.on_error, crowds=settings.crowds)
        first = read(paths[0], name=names[0])
        others = [
            read(p, name=n, form=Form(unique=False))
            for p, n in zip(paths[1:], names[1:], strict=True)
        ]
        pairs = [
            pair(first, names[0], masks, name, match=settings.match)
            for masks, name in zip(others, names[1:], strict=True)
        ]
        keys = ["ground-truth", *(f"predictions-{i}" for i in range(1, len(paths)))]
        run = run.with_inputs(**dict(zip(keys, map(masks_identity, paths), strict=True)))
        sink = ReportSink(run, names[1:], settings, outputs)
        one = partial(evaluate_image, inputs=Inputs(first, pairs, settings))
        images = [image for _, image in sorted(first.images.items())]
        work = partial(ordered_map, one, jobs=run.jobs)
        left_out = partial(_left_out, truth=first, pairs=pairs)
        strays = [one for file in (first, *others) for one in file.strays]
        code = run_items(images, work, sink, run, left_out=left_out, strays=strays)
    return Evaluation(sink.report, code)


def _left_out(image: ImageInfo, *, truth: MasksFile, pairs: Sequence[Predictions]) -> list[LeftOut]:
    """Return the annotations of an image that were left out, of all files."""
    found = [truth.left_out.of(image.id)]
    found += [p.masks.left_out.of(p.ids[image.id]) for p in pairs if image.id in p.ids]
    return [one for group in found for one in group]


def _check(
    arguments: Sequence[str],
    settings: EvaluateSettings,
    run: RunSettings,
    outputs: EvaluateOutputs,
) -> None:
    if arguments.count(STDIN) > 1:
        raise UsageError("only one file can be read from standard input")
    if settings.by is not None and settings.protocol == "point":
        raise UsageError("--by needs --protocol whole-image")
    if outputs.per_image is not None and settings.protocol == "point":
        raise UsageError("--per-image needs --protocol whole-image")
    if outputs.plot is not None:
        if run.shard.count > 1 or settings.protocol == "point":
            raise UsageError("--plot needs --protocol whole-image and all images: remove --shard")
        check_chart("--plot", outputs.plot, (".png", ".svg"))
    for path in (run.output, outputs.per_image, outputs.plot):
        if path is not None:
            check_output(str(path), binary=False, no_clobber=run.no_clobber)
