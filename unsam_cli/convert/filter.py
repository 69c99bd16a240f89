"""The whole of ``unsam filter``: some of the masks of a file, by score, size, place and so on."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from unsam_cli.convert.filter_settings import FilterSettings
from unsam_cli.errors import DataError
from unsam_cli.io.annotations import Annotation
from unsam_cli.io.image_entries import ImageInfo
from unsam_cli.io.masks import MasksFile, read_masks
from unsam_cli.rle import RunTable, area, crop, suppress
from unsam_cli.run.inputs import local_file, name_of
from unsam_cli.run.parallel import ordered_map
from unsam_cli.run.provenance import masks_identity
from unsam_cli.run.runner import run_items
from unsam_cli.run.settings import RunSettings
from unsam_cli.run.shards import parts_of
from unsam_cli.run.sinks import MaskResult, MaskSink
from unsam_cli.run.tally import Tally


def filter_masks(masks: str, settings: FilterSettings, run: RunSettings) -> int:
    """Write some of the masks of a file.

    Masks keep their ids, scores and other keys. The parent of a mask is the nearest of its
    ancestors that is kept.

    Parameters
    ----------
    masks : str
        A masks file that lists its images; ``-`` is standard input.
    settings : FilterSettings
        Which masks are kept.
    run : RunSettings
        Output and the other settings that all commands share.

    Returns
    -------
    int
        The exit code, see :func:`~unsam_cli.run.runner.run_items`.

    Raises
    ------
    UnsamError
        The masks are missing or invalid.
    """
    name = name_of(masks)
    with local_file(masks) as path:
        found = read_masks(path, name=name, on_error=run.on_error)
        if not found.images:
            raise DataError(f"{name}: lists no images; give a full COCO file")
        own = found.info.get("unsam", {})
        history: list[dict[str, Any]] = own.get("history", [])
        if not history:
            run = run.with_inputs(masks=masks_identity(path))
        run = run.within(parts_of(own, name))
        sink = MaskSink(run, history, kept_ids=found.unique_ids)
        tally = Tally("filter", "masks")
        code = run_items(
            [image for _, image in sorted(found.images.items())],
            partial(ordered_map, partial(_filtered, found, settings, tally), jobs=run.jobs),
            sink,
            run,
            content=lambda item: found.checksum(item.id),
            left_out=lambda item: found.left_out.of(item.id),
            strays=found.strays,
        )
        tally.report()
    return code


def _filtered(
    found: MasksFile, settings: FilterSettings, tally: Tally, item: ImageInfo
) -> MaskResult:
    every = found.annotations_of(item.id)
    kept = chosen(every, settings)
    tally.add(len(every), len(kept))
    entries = entries_of(kept, every, ids=found.unique_ids)
    return MaskResult(item.height, item.width, entries)


def chosen(found: list[Annotation], settings: FilterSettings) -> list[Annotation]:
    """Return the masks of one image that are kept, in the order of the file."""
    sizes = area([a.rle for a in found]).tolist()
    kept = [i for i, a in enumerate(found) if _fits(a, sizes[i], settings)]
    scores = [-np.inf if a.score is None else a.score for a in found]
    ranked = sorted(kept, key=lambda i: -scores[i])
    if ranked and settings.nms_iou < 1:
        table = RunTable.from_rles([found[i].rle for i in ranked])
        better = suppress(table, np.arange(len(ranked)), settings.nms_iou)
        ranked = [i for i, keep in zip(ranked, better, strict=True) if keep]
    if settings.max_masks:
        ranked = ranked[: settings.max_masks]
    return [found[i] for i in sorted(ranked)]


def _fits(a: Annotation, pixels: int, settings: FilterSettings) -> bool:
    height, width = a.rle["size"]
    if not settings.min_area <= pixels <= settings.max_area * height * width:
        return False
    if settings.min_score is not None and (a.score is None or a.score < settings.min_score):
        return False
    if settings.stage is not None and a.stage != settings.stage:
        return False
    for limits, value in ((settings.level, a.level), (settings.granularity, a.granularity)):
        if limits is not None and (value is None or not limits[0] <= value <= limits[1]):
            return False
    return settings.inside is None or 2 * _pixels_inside(a, settings.inside) >= pixels


def _pixels_inside(a: Annotation, box: tuple[int, int, int, int]) -> int:
    height, width = a.rle["size"]
    x, y = min(box[0], width), min(box[1], height)
    w, h = min(box[2], width - x), min(box[3], height - y)
    return int(area([crop(a.rle, x, y, w, h)])[0]) if w and h else 0


def _parent(a: Annotation, every: dict[int, Annotation], kept: dict[int, int]) -> int | None:
    """Return the position of the nearest ancestor that is kept."""
    seen = {a.id}
    above = a.parent_id
    while above is not None and above not in kept and above not in seen:
        seen.add(above)
        above = every[above].parent_id if above in every else None
    return kept.get(above) if above is not None else None


def entries_of(
    kept: list[Annotation], every: list[Annotation], *, ids: bool
) -> list[dict[str, Any]]:
    """Return annotations as they are stored; with `ids`, they keep their ids."""
    places = {a.id: i for i, a in enumerate(kept)}
    known = {a.id: a for a in every}
    return [{**a.to_json(with_id=ids), "parent": _parent(a, known, places)} for a in kept]
