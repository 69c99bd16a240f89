"""The whole of ``unsam refine``: masks and their photographs in, refined masks out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from unsam_cli.errors import DataError, MaskFileError, UnsamError
from unsam_cli.found_masks import CONTAINED, granularity
from unsam_cli.io.annotations import Annotation
from unsam_cli.io.image_entries import ImageInfo
from unsam_cli.io.masks import MasksFile, read_masks
from unsam_cli.io.names import Pictures
from unsam_cli.io.sizes import check_size
from unsam_cli.io.windows import Pixels, close, open_windows
from unsam_cli.refinement.masks import (
    MapFunctor,
    MaskRefiner,
    MaskTask,
    Refined,
    begin,
    complete,
)
from unsam_cli.refinement.methods import create_refiner
from unsam_cli.refinement.settings import RefineSettings
from unsam_cli.rle import RunTable, parents
from unsam_cli.run.inputs import local_file, name_of
from unsam_cli.run.parallel import ordered_map, spread
from unsam_cli.run.provenance import checksum, masks_identity
from unsam_cli.run.replacing import images_below
from unsam_cli.run.runner import run_items
from unsam_cli.run.settings import Compute, RunSettings
from unsam_cli.run.shards import parts_of
from unsam_cli.run.sinks import MaskResult, MaskSink
from unsam_cli.run.tally import Tally

Work = Callable[[Iterable[ImageInfo]], Iterable[tuple[ImageInfo, MaskResult | UnsamError]]]


def refine(
    masks: str,
    settings: RefineSettings,
    compute: Compute,
    run: RunSettings,
    *,
    images: Path,
    weights: str | None = None,
) -> int:
    """Refine the masks of a file and write them as `run` says.

    Parameters
    ----------
    masks : str
        A masks file that lists its images; ``-`` is standard input.
    settings : RefineSettings
        How to refine.
    compute : Compute
        Device of `crf` and of the network of `cascadepsp`.
    run : RunSettings
        Output and the other settings that all commands share.
    images : Path
        Folder of the images.
    weights : str, optional
        Weights of this network.

    Returns
    -------
    int
        The exit code, see :func:`~unsam_cli.run.runner.run_items`.

    Raises
    ------
    UnsamError
        The masks or an image are missing or invalid, or the image has another size.
    """
    with local_file(masks) as path:
        found = read_masks(path, name=name_of(masks), on_error=run.on_error)
        items = _items(found, name_of(masks))
        own = found.info.get("unsam", {})
        history: list[dict[str, Any]] = own.get("history", [])
        if not history:
            run = run.with_inputs(masks=masks_identity(path))
        refiner, inputs = create_refiner(
            settings, weights, device=compute.device, batch_size=compute.batch_size
        )
        run = run.with_inputs(**inputs)
        run = run.within(parts_of(own, name_of(masks)))
        run = run.reading(partial(images_below, images, [item.file_name for item in items]))
        sink = MaskSink(run, history, kept_ids=found.unique_ids)
        pictures = Pictures(images, (item.file_name for item in items))
        tally = Tally("refine")
        batch = _Batch(found, pictures, settings, refiner, tally)
        with spread(len(items), run.jobs) as (mapper, jobs):
            work: Work
            if settings.method == "cascadepsp":
                work = partial(batch.by_network, jobs=run.jobs)
            else:
                work = partial(ordered_map, partial(batch.image, mapper=mapper), jobs=jobs)
            code = run_items(
                items,
                work,
                sink,
                run,
                content=partial(_content, found=found, pictures=pictures),
                sources=partial(_sources, pictures=pictures),
                left_out=lambda item: found.left_out.of(item.id),
                strays=found.strays,
            )
        tally.report()
    return code


def _items(found: MasksFile, name: str) -> list[ImageInfo]:
    if not found.images:
        raise DataError(
            f"{name}: lists no images, so that their names are unknown; give a full COCO file"
        )
    return [image for _, image in sorted(found.images.items())]


def _content(item: ImageInfo, *, found: MasksFile, pictures: Pictures) -> int | None:
    """Return a checksum of the masks of an image and of the image."""
    return checksum(pictures.find(item.file_name), found.checksum(item.id))


def _sources(item: ImageInfo, *, pictures: Pictures) -> list[Path]:
    with suppress(UnsamError):  # a missing one is reported where it is needed
        return [pictures.find(item.file_name)]
    return []


@dataclass(frozen=True)
class _Known:
    """An image and its annotations."""

    item: ImageInfo
    plain: list[Annotation]
    crowds: list[Annotation]


@dataclass(frozen=True)
class _Batch:
    """The masks of a file, where their images are, and how they are refined."""

    found: MasksFile
    pictures: Pictures
    settings: RefineSettings
    refiner: MaskRefiner
    tally: Tally

    def image(self, item: ImageInfo, *, mapper: MapFunctor) -> MaskResult:
        """Refine the masks of one image."""
        known, task = self.read(item)
        found = self.refiner(task.picture, task.work, mapper=mapper)
        close(task.picture)
        return self.result(known, complete(task, found, self.settings, mapper=mapper))

    def by_network(
        self, items: Iterable[ImageInfo], *, jobs: int
    ) -> Iterator[tuple[ImageInfo, MaskResult | UnsamError]]:
        """Refine the masks of images whose crops share the batches of a network."""
        from unsam_cli.refinement.cascadepsp import CascadePsp
        from unsam_cli.refinement.pipeline import refine_images

        assert isinstance(self.refiner, CascadePsp)
        return refine_images(items, self.refiner, self.read, self.result, jobs=jobs)

    def read(self, item: ImageInfo) -> tuple[_Known, MaskTask]:
        """Read an image and its masks; crowd regions are not refined."""
        every = self.found.annotations_of(item.id)
        plain = [a for a in every if not a.iscrowd]
        picture = _picture(item, self.pictures)
        try:
            table = RunTable.from_rles([a.rle for a in plain], size=(item.height, item.width))
        except ValueError as e:
            raise MaskFileError(f"{item.file_name}: {e}; the masks must be of this image") from e
        known = _Known(item, plain, [a for a in every if a.iscrowd])
        return known, begin(picture, table)

    def result(self, known: _Known, refined: Refined) -> MaskResult:
        """Return the annotations of an image after refinement."""
        self.tally.add(len(known.plain), len(refined.kept), refined.dropped)
        found = annotations_after(known.plain, refined, known.crowds, ids=self.found.unique_ids)
        return MaskResult(known.item.height, known.item.width, found)


def _picture(item: ImageInfo, pictures: Pictures) -> Pixels:
    path = pictures.find(item.file_name)
    picture = open_windows(path)
    check_size(path, picture.shape, (item.height, item.width))
    return picture


def annotations_after(
    before: list[Annotation], refined: Refined, crowds: list[Annotation], *, ids: bool
) -> list[dict[str, Any]]:
    """Return the annotations of an image with their refined masks, in the order of the file.

    Parents and granularity are computed again; all other keys are kept, with `ids` also the ids.
    Crowd regions are not refined and follow.
    """
    parent = parents(refined.table, CONTAINED)
    fineness = granularity(refined.table.areas, parent).round(6).tolist()
    kept = [before[i] for i in refined.kept.tolist()]
    whole = refined.table.to_rles() + [a.rle for a in crowds]
    every = RunTable.from_rles(whole, size=refined.table.size)
    found = []
    for i, a in enumerate([*kept, *crowds]):
        own = i < len(kept)
        after = replace(
            a,
            rle=whole[i],
            area=int(every.areas[i]),
            bbox=tuple(every.boxes[i].tolist()),
            category_id=1,
            granularity=fineness[i] if own else None,
        )
        place = int(parent[i]) if own and parent[i] >= 0 else None
        found.append({**after.to_json(with_id=ids), "parent": place})
    return found
