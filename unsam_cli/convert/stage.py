"""The whole of ``unsam convert``: a dataset in, COCO or another form out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from unsam_cli.convert import targets
from unsam_cli.convert.ade20k import open_ade20k
from unsam_cli.convert.bsds500 import open_bsds500
from unsam_cli.convert.coco_json import open_coco_json
from unsam_cli.convert.dataset import (
    Dataset,
    LeavesOut,
    SourceImage,
    select,
    source_identity,
    to_annotations,
)
from unsam_cli.convert.formats import FOLDERS, WITHOUT_CROWDS, Request
from unsam_cli.convert.geojson import GeoJsonSink, places_of, to_geojson
from unsam_cli.convert.label_maps import open_label_maps
from unsam_cli.convert.panoptic import open_panoptic
from unsam_cli.convert.sa1b import open_sa1b
from unsam_cli.convert.settings import ReadSettings, WriteSettings
from unsam_cli.convert.sinks import FolderSink, TsvSink
from unsam_cli.convert.tsv import open_tsv
from unsam_cli.errors import counted
from unsam_cli.io.masks_lines import marks_of
from unsam_cli.io.names import Pictures
from unsam_cli.run.inputs import local_file
from unsam_cli.run.parallel import ordered_map
from unsam_cli.run.provenance import checksum
from unsam_cli.run.replacing import images_below
from unsam_cli.run.runner import Sink, run_items
from unsam_cli.run.settings import RunSettings
from unsam_cli.run.shards import parts_of
from unsam_cli.run.sinks import MaskResult, MaskSink

logger = logging.getLogger(__name__)

Open = Callable[[str, Path, ReadSettings], Dataset]
Prepare = Callable[[SourceImage, MaskResult, WriteSettings], Any]

OPENERS: dict[str, Open] = {
    **dict.fromkeys(("coco", "lvis", "entityseg", "partimagenet", "paco"), open_coco_json),
    **dict.fromkeys(("labelmap", "davis"), open_label_maps),
    "sa1b": open_sa1b,
    "ade20k": open_ade20k,
    "coco-panoptic": open_panoptic,
    "bsds500": open_bsds500,
    "tsv": open_tsv,
}
PREPARE: dict[str, Prepare] = {
    "coco": lambda image, result, settings: result,
    "results": targets.to_results,
    "polygons": targets.to_polygons,
    "sa1b": targets.to_sa1b,
    "labelmap": targets.to_label_map,
    "tsv": targets.to_tsv,
    "yolo": targets.to_yolo,
    "geojson": lambda image, result, settings: to_geojson(
        image, result, settings.places, settings.tolerance
    ),
}


def convert(request: Request, read: ReadSettings, write: WriteSettings, run: RunSettings) -> int:
    """Convert a dataset, image by image, and write it as `run` says.

    Parameters
    ----------
    request : Request
        Source and target.
    read, write : ReadSettings, WriteSettings
        How to read and how to write.
    run : RunSettings
        Output and the other settings that all commands share.

    Returns
    -------
    int
        The exit code, see :func:`~unsam_cli.run.runner.run_items`.

    Raises
    ------
    UnsamError
        The source is missing or invalid, or the output cannot be written.
    """
    read = replace(read, on_error=run.on_error)
    dropped: list[int] = []
    with local_file(request.source) as path:
        dataset = OPENERS[request.source_format](request.source_format, path, read)
        run = _with_source(run, request, path, dataset).reading(lambda: dataset.files)
        names = [image.file_name for image in dataset.images]
        epsg = None
        if write.images is not None and request.target in ("tsv", "geojson"):
            write = replace(write, pictures=Pictures(write.images, names))
        if request.target == "geojson":
            places, epsg = places_of(dataset.images, write.pictures)
            write = replace(write, pictures=None, places=places)
        if read.images is not None:
            run = run.reading(partial(images_below, read.images, names))
        sink = _sink(request.target, dataset, run, epsg)
        one = partial(
            _convert_image,
            dataset=dataset,
            read=read,
            write=write,
            prepare=PREPARE[request.target],
            dropped=dropped if request.target in WITHOUT_CROWDS else [],
        )
        content = partial(_content, dataset=dataset, pictures=write.pictures)
        work = partial(ordered_map, one, jobs=run.jobs)
        single = dataset if isinstance(dataset, LeavesOut) else None
        code = run_items(
            dataset.images,
            work,
            sink,
            run,
            content=content,
            left_out=None if single is None else single.left_out,
            strays=() if single is None else single.strays,
        )
    if crowds := sum(dropped):
        logger.warning(
            "left out %s, which %s cannot hold; --crowds masks converts them",
            *(counted(crowds, "crowd region"), request.target),
        )
    return code


def _content(image: SourceImage, *, dataset: Dataset, pictures: Pictures | None) -> int | None:
    """Return a checksum of the masks of an image, and of the image if that is written, too."""
    found = dataset.content(image)
    return found if pictures is None else checksum(pictures.find(image.file_name), found)


def _convert_image(
    image: SourceImage,
    *,
    dataset: Dataset,
    read: ReadSettings,
    write: WriteSettings,
    prepare: Prepare,
    dropped: list[int],
) -> Any:
    """Return what is written for an image; its number of crowd regions is added to `dropped`."""
    picture = select(dataset.load(image), read)
    dropped.append(sum(mask.iscrowd for mask in picture.masks))
    result = MaskResult(picture.height, picture.width, to_annotations(image.id, picture.masks))
    return prepare(image, result, write)


def _with_source(run: RunSettings, request: Request, path: Path, dataset: Dataset) -> RunSettings:
    """Add the formats and the source to the history."""
    options = {"format": request.source_format, **run.step.options, "to": request.target}
    step = replace(run.step, options=options)
    if request.source_format == "coco":
        run = run.within(parts_of(marks_of(path), request.source))
    return replace(run, step=step).with_inputs(source=source_identity(path, dataset.images))


def _sink(
    target: str, dataset: Dataset, run: RunSettings, epsg: int | None
) -> Sink[SourceImage, Any]:
    if target in FOLDERS:
        return FolderSink(run, list(dataset.history), target, dataset.images)
    if target == "tsv":
        return TsvSink(run, list(dataset.history))
    if target == "geojson":
        return GeoJsonSink(run, list(dataset.history), epsg)
    if target == "results":
        run = replace(run, kind="results")
    return MaskSink(run, list(dataset.history))
