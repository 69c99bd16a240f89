"""The whole of ``unsam conquer``: features of regions in, masks of their parts out."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

from unsam_cli.conquer.conquer import MapFunctor, conquer_image
from unsam_cli.conquer.guide import Picture
from unsam_cli.conquer.settings import ConquerSettings
from unsam_cli.errors import UnsamError
from unsam_cli.found_masks import FoundMasks, annotate
from unsam_cli.io.features import FeatureFile, ImageEntry, Record
from unsam_cli.io.names import Pictures
from unsam_cli.io.previews import PREVIEW, decode_preview
from unsam_cli.io.windows import close, open_windows
from unsam_cli.refinement.found import Refinement, refinement_of
from unsam_cli.refinement.settings import PRESETS
from unsam_cli.run.feature_items import FeatureItem, feature_items, lasting, open_features
from unsam_cli.run.parallel import ordered_map, spread
from unsam_cli.run.provenance import checksum
from unsam_cli.run.replacing import images_below
from unsam_cli.run.runner import run_items
from unsam_cli.run.settings import RunSettings
from unsam_cli.run.shards import parts_of
from unsam_cli.run.sinks import MaskResult, MaskSink

logger = logging.getLogger(__name__)


def conquer(
    features: str,
    settings: ConquerSettings,
    run: RunSettings,
    *,
    images: Path | None,
    weights: str | None = None,
) -> int:
    """Merge the patches of every region of a features file and write the masks as `run` says.

    Parameters
    ----------
    features : str
        A features file; ``-`` is standard input.
    settings : ConquerSettings
        How to conquer.
    images : Path, optional
        Folder of the original images, which refine borders instead of the previews.
    weights : str, optional
        Weights of the network of `cascadepsp`.

    Returns
    -------
    int
        The exit code, see :func:`~unsam_cli.run.runner.run_items`.

    Raises
    ------
    UnsamError
        The file or an original image is missing or damaged.
    """
    with open_features(features) as file:
        items = feature_items(file)
        names = [item.file_name for item in items]
        pictures = None if images is None else Pictures(images, names)
        if images is None and settings.refine != "none" and items:
            _advise(file, items[0].index)
        if images is not None:
            run = run.with_inputs(guide="originals")
            run = run.reading(partial(images_below, images, names))
        refinement, inputs = refinement_for(settings, weights)
        run = run.with_inputs(**inputs)
        run = run.within(parts_of(file.attributes.marks, file.name))
        sink = MaskSink(run, file.attributes.history)
        one = partial(
            _conquer_image, file=file, settings=settings, pictures=pictures, refinement=refinement
        )
        content = partial(_content, file=file, pictures=pictures)

        def sources(item: FeatureItem) -> list[Path]:
            found = lasting(file)
            with suppress(UnsamError):  # a missing one is reported where it is needed
                found += [] if pictures is None else [pictures.find(item.file_name)]
            return found

        with spread(len(items), run.jobs) as (mapper, jobs):
            work = partial(ordered_map, partial(one, mapper=mapper), jobs=jobs)
            code = run_items(items, work, sink, run, content=content, sources=sources)
        if refinement is not None:
            refinement.tally.report()
        return code


def _advise(file: FeatureFile, index: int) -> None:
    """Warn if previews are too small for tiles, as the first image shows."""
    image = file.image(index)
    whole = (0, 0, image.width, image.height)
    tiled = any(not region.counts and region.bbox != whole for region in file.regions(index))
    if tiled and max(whole) > PREVIEW:
        logger.warning(
            "borders of small masks follow previews of %d pixels; conquer --images DIR follows the "
            "original images",
            PREVIEW,
        )


def _content(item: FeatureItem, *, file: FeatureFile, pictures: Pictures | None) -> int | None:
    """Return a checksum of an image's records and of the original image."""
    features = file.checksum(item.index)
    if pictures is None:
        return features
    return checksum(pictures.find(item.file_name), features)


def _conquer_image(
    item: FeatureItem,
    *,
    file: FeatureFile,
    settings: ConquerSettings,
    pictures: Pictures | None,
    refinement: Refinement | None,
    mapper: MapFunctor,
) -> MaskResult:
    image = file.image(item.index)
    picture = guide_of(image, settings, pictures)
    size = (image.height, image.width)
    records = file.each_record(item.index)
    try:
        found = conquer_records(records, picture, size, settings, refinement, mapper=mapper)
    finally:
        if picture is not None:
            close(picture)
    return MaskResult(*size, annotate(item.id, found))


def refinement_for(
    settings: ConquerSettings, weights: str | None
) -> tuple[Refinement | None, dict[str, str]]:
    """Create the refinement of parts, see :func:`~unsam_cli.refinement.found.refinement_of`."""
    rules = PRESETS.get(settings.preset, {})
    return refinement_of("conquer", settings.refine, weights, **rules)


def conquer_records(
    records: Iterable[Record],
    picture: Picture | None,
    size: tuple[int, int],
    settings: ConquerSettings,
    refinement: Refinement | None,
    *,
    mapper: MapFunctor = map,
) -> FoundMasks:
    """Find the parts of all regions of an image as `conquer_image` does, and refine their borders.

    `refinement` is what `refinement_for` made of the settings. For the other parameters see
    :func:`~unsam_cli.conquer.conquer.conquer_image`.
    """
    found = conquer_image(records, picture, size, settings, mapper=mapper)
    if refinement is not None and picture is not None:
        # The published code compares no refined masks with each other.
        max_iou = 1.0 if settings.preset == "paper" else settings.nms_iou
        found = refinement.apply(found, picture, max_iou=max_iou, mapper=mapper)
    return found


def guide_of(
    image: ImageEntry, settings: ConquerSettings, pictures: Pictures | None = None
) -> Picture | None:
    """Return the image that guides refinement: the original, else the preview, else None."""
    if settings.refine == "none":
        return None
    if pictures is not None:
        return open_windows(pictures.find(image.file_name))
    return decode_preview(image.preview) if image.preview else None
