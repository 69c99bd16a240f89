"""The whole of ``unsam divide``: features, or detections, in; masks of objects out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby, islice

from unsam_cli.backbones import accelerator
from unsam_cli.divide.draw import draw_cuts, refinement_for, whole_image
from unsam_cli.divide.maskcut import Cut, maskcut, maskcut_batch
from unsam_cli.divide.settings import DivideSettings
from unsam_cli.errors import DataError, UnsamError
from unsam_cli.found_masks import annotate
from unsam_cli.io.features import FeatureFile, ImageEntry, Record
from unsam_cli.refinement.found import Refinement
from unsam_cli.run.feature_items import FeatureItem, feature_items, lasting, open_features
from unsam_cli.run.parallel import attempt, ordered_map
from unsam_cli.run.runner import run_items
from unsam_cli.run.seeds import image_seed
from unsam_cli.run.settings import Compute, RunSettings
from unsam_cli.run.shards import parts_of
from unsam_cli.run.sinks import MaskResult, MaskSink

Draw = Callable[[ImageEntry, Record, Sequence[Cut]], MaskResult]
Work = Callable[[Sequence[FeatureItem]], Iterator[tuple[FeatureItem, MaskResult | UnsamError]]]


def divide(
    features: str,
    settings: DivideSettings,
    compute: Compute,
    run: RunSettings,
    *,
    weights: str | None = None,
) -> int:
    """Cut the images of a features file into objects and write the masks as `run` says.

    Parameters
    ----------
    features : str
        Features file with a record of each whole image; ``-`` is standard input.
    settings : DivideSettings
        How to divide.
    compute : Compute
        Device that the eigenvectors are computed on.
    run : RunSettings
        Output and the other settings that all commands share.
    weights : str, optional
        Weights of the network of `cascadepsp`.

    Returns
    -------
    int
        The exit code, see :func:`~unsam_cli.run.runner.run_items`.

    Raises
    ------
    UnsamError
        The file is missing or damaged, or has no record for a whole image.
    """
    with open_features(features) as file:
        items = feature_items(file)
        device = accelerator(compute.device)
        refinement, inputs = refinement_for(settings, weights, compute.device)
        run = run.with_inputs(**inputs)
        run = run.within(parts_of(file.attributes.marks, file.name))
        sink = MaskSink(run, file.attributes.history)
        draw = partial(
            _to_result,
            settings=settings,
            refinement=refinement,
            patch_size=file.attributes.patch_size,
        )
        one = partial(_divide_image, file=file, settings=settings, seed=run.seed, draw=draw)
        work: Work = partial(ordered_map, one, jobs=run.jobs)
        if device is not None:
            work = partial(
                _divide_batches,
                file=file,
                settings=settings,
                run=run,
                device=device,
                batch_size=compute.batch_size,
                draw=draw,
            )
        code = run_items(
            items,
            work,
            sink,
            run,
            content=lambda item: file.checksum(item.index),
            sources=lambda item: lasting(file),
        )
        if refinement is not None:
            refinement.tally.report()
        return code


def _divide_image(
    item: FeatureItem, *, file: FeatureFile, settings: DivideSettings, seed: int, draw: Draw
) -> MaskResult:
    image = file.image(item.index)
    record = _whole_image(file, item, image)
    cuts = maskcut(
        record.features,
        max_masks=settings.max_masks,
        tau=settings.tau,
        seed=image_seed(seed, item.id),
    )
    return draw(image, record, cuts)


def _divide_batches(
    items: Sequence[FeatureItem],
    *,
    file: FeatureFile,
    settings: DivideSettings,
    run: RunSettings,
    device: str,
    batch_size: int,
    draw: Draw,
) -> Iterator[tuple[FeatureItem, MaskResult | UnsamError]]:
    """Cut consecutive images with grids of one shape together on an accelerator."""

    def read(item: FeatureItem) -> tuple[ImageEntry, Record]:
        image = file.image(item.index)
        return image, _whole_image(file, item, image)

    def shape(pair: tuple[FeatureItem, tuple[ImageEntry, Record] | UnsamError]) -> object:
        return None if isinstance(pair[1], UnsamError) else pair[1][1].features.shape

    for key, group in groupby(ordered_map(read, items, jobs=run.jobs), key=shape):
        while batch := list(islice(group, batch_size)):
            if key is None:
                yield from ((item, e) for item, e in batch if isinstance(e, UnsamError))
                continue
            loaded = [(item, r) for item, r in batch if not isinstance(r, UnsamError)]
            cuts = maskcut_batch(
                [record.features for _, (_, record) in loaded],
                device=device,
                max_masks=settings.max_masks,
                tau=settings.tau,
                seed=run.seed,
            )
            for (item, (image, record)), found in zip(loaded, cuts, strict=True):
                yield item, attempt(partial(draw, image, record, found))


def _to_result(
    image: ImageEntry,
    record: Record,
    cuts: Sequence[Cut],
    *,
    settings: DivideSettings,
    refinement: Refinement | None,
    patch_size: int,
) -> MaskResult:
    found = draw_cuts(image, record, cuts, settings, refinement=refinement, patch_size=patch_size)
    return MaskResult(image.height, image.width, annotate(image.id, found))


def _whole_image(file: FeatureFile, item: FeatureItem, image: ImageEntry) -> Record:
    record = whole_image(image, file.each_record(item.index))
    if record is None:
        raise DataError(
            f"{file.name}: image {item.id} ({item.file_name}) has no record of the whole image; "
            "run extract-features without --regions, or with --whole-image"
        )
    return record
