"""``unsam divide --detections``: a detector's results in, masks of objects out."""

from __future__ import annotations

from functools import partial
from typing import Any

from unsam_cli.divide.detections import select_detections
from unsam_cli.divide.settings import DivideSettings
from unsam_cli.errors import DataError, MaskFileError
from unsam_cli.found_masks import FoundMask, FoundMasks, annotate
from unsam_cli.io.files import file_identity
from unsam_cli.io.image_entries import ImageInfo
from unsam_cli.io.masks import MasksFile, read_masks
from unsam_cli.io.masks_table import Form
from unsam_cli.run.feature_items import feature_items, open_features
from unsam_cli.run.image_list import same_images, tell_others
from unsam_cli.run.inputs import local_file, name_of
from unsam_cli.run.parallel import ordered_map
from unsam_cli.run.runner import run_items
from unsam_cli.run.settings import RunSettings
from unsam_cli.run.shards import Parts, parts_of
from unsam_cli.run.sinks import MaskResult, MaskSink


def divide_detections(
    detections: str, settings: DivideSettings, run: RunSettings, *, features: str | None
) -> int:
    """Take a detector's results as objects and write them as `run` says.

    Parameters
    ----------
    detections : str
        A COCO file or a bare list of results.
    settings : DivideSettings
        How to divide. Only `min_score` is used.
    run : RunSettings
        Output and the other settings that all commands share.
    features : str, optional
        Features file that lists the images. It is needed if `detections` is a bare list.

    Returns
    -------
    int
        The exit code, see :func:`~unsam_cli.run.runner.run_items`.

    Raises
    ------
    DataError
        The names and sizes of the images are unknown.
    """
    with local_file(detections) as path:
        name = name_of(detections)
        found = read_masks(path, name=name, on_error=run.on_error, form=Form(unique=False))
        items, history, parts = _images_of_features(features) if features else _images_of(found)
        same_images(items, found.names, name)
        if not parts.missing:
            tell_others(items, found.counts(), name)
        if not items and not features:
            raise DataError(
                f"{name}: lists no images; give a full COCO file, or the features file "
                "that has them"
            )
        run = run.with_inputs(detections=file_identity(path)).within(parts)
        sink = MaskSink(run, history)
        work = partial(_take_detections, found=found, min_score=settings.min_score)
        listed = lambda item: found.left_out.of(item.id)  # noqa: E731
        work_all = partial(ordered_map, work, jobs=run.jobs)
        return run_items(items, work_all, sink, run, left_out=listed, strays=found.strays)


def _images_of_features(features: str) -> tuple[list[ImageInfo], list[dict[str, Any]], Parts]:
    with open_features(features) as file:
        images = [file.image(item.index) for item in feature_items(file)]
        sized = [ImageInfo(i.id, i.file_name, i.height, i.width, i.georeference) for i in images]
        return sized, file.attributes.history, parts_of(file.attributes.marks, file.name)


def _images_of(found: MasksFile) -> tuple[list[ImageInfo], list[dict[str, Any]], Parts]:
    sized = [image for _, image in sorted(found.images.items())]
    own = found.info.get("unsam", {})
    return sized, own.get("history", []), parts_of(own, "the detections")


def _take_detections(item: ImageInfo, *, found: MasksFile, min_score: float) -> MaskResult:
    annotations = found.annotations_of(item.id)
    rles = [a.segmentation for a in annotations]
    scores = [1.0 if a.score is None else a.score for a in annotations]
    chosen = select_detections(rles, scores, min_score=min_score)
    size = (item.height, item.width)
    try:
        masks = FoundMasks.of([FoundMask(rles[i], scores[i], "divide") for i in chosen], size)
    except ValueError as e:
        raise MaskFileError(f"{item.file_name}: {e}; the detections must be of this image") from e
    return MaskResult(*size, annotate(item.id, masks))
