"""The whole of ``unsam predict`` with a promptable model: images and prompts in, masks out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from unsam_cli.backbones import accelerator
from unsam_cli.errors import UnsamError, UsageError
from unsam_cli.io.windows import Pixels, close, open_windows
from unsam_cli.prediction.prompted.answers import Annotations, answer, find_all
from unsam_cli.prediction.prompted.questions import PromptSource, Question
from unsam_cli.prediction.prompted.settings import PromptedSettings
from unsam_cli.prediction.prompted.sources import fit, open_prompts
from unsam_cli.prediction.settings import PredictCompute
from unsam_cli.run.batching import Batcher, Network
from unsam_cli.run.inputs import STDIN, ImageQuery, images_of
from unsam_cli.run.items import ImageItem
from unsam_cli.run.provenance import checksum
from unsam_cli.run.runner import run_items
from unsam_cli.run.settings import RunSettings
from unsam_cli.run.sinks import MaskResult, MaskSink
from unsam_cli.sam.loading import load_promptable
from unsam_cli.sam.promptable import Promptable


def predict_prompted(
    checkpoint: str,
    query: ImageQuery,
    settings: PromptedSettings,
    compute: PredictCompute,
    run: RunSettings,
) -> int:
    """Segment images with a promptable model and write the masks as `run` says.

    Parameters
    ----------
    checkpoint : str
        A folder, a file or a hub id, see :func:`~unsam_cli.sam.loading.load_promptable`.
    query : ImageQuery
        The images. If none are named, those that ``prompts_from`` lists.
    settings : PromptedSettings
        Prompts and options.
    compute : PredictCompute
        Device of the network, see :func:`~unsam_cli.backbones.accelerator`.
    run : RunSettings
        Output and the other settings that all commands share.

    Returns
    -------
    int
        The exit code, see :func:`~unsam_cli.run.runner.run_items`.

    Raises
    ------
    UnsamError
        An input is missing or invalid, or the output cannot be written.
    """
    masks = settings.prompts_from
    if STDIN in query.arguments and STDIN in (masks, settings.prompts):
        raise UsageError(
            "images and prompts cannot both be read from standard input: give a file for one "
            "of them"
        )
    if masks not in (None, STDIN) and not query.arguments and query.coco is None:
        query = replace(query, coco=Path(str(masks)))
    with open_prompts(settings, run.on_error) as (source, identities):
        items, run = images_of(query, run)
        if source is not None:
            items = source.select(items)
        model = load_promptable(checkpoint, accelerator(compute.device) or "cpu")
        refuse_unsuitable(model, source, settings)
        model.dtype = settings.dtype
        run = run.with_inputs(checkpoint=model.identity, **identities)
        sink = MaskSink(run, model.history)
        work = partial(_predict_images, model=model, source=source, settings=settings, run=run)
        return run_items(
            items,
            work,
            sink,
            run,
            content=lambda item: checksum(item.path),
            sources=lambda item: [item.path],
            left_out=None if source is None else source.left_out,
            strays=() if source is None else source.strays,
        )


class _Asked(NamedTuple):
    """A decoded image and its prompts."""

    item: ImageItem
    rgb: Pixels
    questions: list[Question]


def _predict_images(
    items: Sequence[ImageItem],
    *,
    model: Promptable,
    source: PromptSource | None,
    settings: PromptedSettings,
    run: RunSettings,
) -> Iterator[tuple[ImageItem, MaskResult | UnsamError]]:
    """Yield items and their masks; images are read and masks clicked ahead of the network."""

    def prepare(item: ImageItem) -> _Asked:
        rgb = open_windows(item.path)
        found = [] if source is None else source.questions(item)
        size, granularity = (rgb.shape[0], rgb.shape[1]), settings.granularity
        return _Asked(item, rgb, [fit(q, item, item.path, size, granularity) for q in found])

    def compute(batch: Sequence[_Asked]) -> list[Annotations]:
        try:
            return [one(asked) for asked in batch]
        finally:
            for asked in batch:
                close(asked.rgb)

    def one(asked: _Asked) -> Annotations:
        item, rgb, questions = asked
        if source is None:
            return find_all(model, rgb, item.id, settings)
        return answer(model, rgb, item.id, questions, clicks=settings.clicks, tiles=settings.tiles)

    def finish(asked: _Asked, found: Sequence[Annotations]) -> MaskResult:
        return MaskResult(asked.rgb.shape[0], asked.rgb.shape[1], found[0])

    network: Network[_Asked, _Asked, Annotations, MaskResult] = Network(
        lambda asked: [asked], lambda asked: None, compute, finish
    )
    with ThreadPoolExecutor(run.jobs, thread_name_prefix="predict") as pool:
        try:
            with Batcher(network, pool, batch_size=1) as batcher:
                yield from batcher.results(
                    items, lambda item: pool.submit(prepare, item), ahead=run.jobs + 1
                )
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def refuse_unsuitable(
    model: Promptable, source: PromptSource | None, settings: PromptedSettings
) -> None:
    """Raise a UsageError if the model cannot answer the prompts."""
    prompts = [] if source is None else list(source.prompts)
    graded = any(prompt.granularity is not None for prompt in prompts)
    if model.granularity is None and (graded or settings.granularity is not None):
        raise UsageError(
            "the checkpoint does not support granularity: fine-tune it with finetune-sam "
            "--granularity, or remove --granularity"
        )
    if model.boxes:
        return
    if any(prompt.box is not None for prompt in prompts):
        raise UsageError(
            "UnSAM's promptable model answers clicks, not boxes: give points, or a SAM for boxes"
        )
    if any(1 not in prompt.labels for prompt in prompts):
        raise UsageError(
            "UnSAM's promptable model needs a click on the object in every prompt: give a point "
            "with label 1"
        )
