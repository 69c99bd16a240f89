"""The whole of ``unsam view``: masks in, a report and overlays out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from unsam_cli.errors import EXIT_SKIPPED, UnsamError, UsageError
from unsam_cli.io.masks import MasksFile, read_masks
from unsam_cli.run.error_list import ErrorList
from unsam_cli.run.inputs import STDIN, local_file, name_of
from unsam_cli.run.output import check_output, publish
from unsam_cli.run.replacing import (
    files_of,
    images_below,
    refuse_doubles,
    refuse_pictures,
    refuse_replacing,
)
from unsam_cli.view.files import ImageName, image_loader, named, overlay_paths, write_overlays
from unsam_cli.view.report import ReportSettings, write_report


class _Skipped:
    """Handles images that cannot be shown: each is listed once, or the first one ends the run."""

    def __init__(self, errors: ErrorList) -> None:
        self.errors = errors
        self.ids: set[int] = set()

    def __call__(self, image: dict[str, Any], error: UnsamError) -> None:
        entry = named(image)
        if entry.id not in self.ids:
            self.errors.add(entry, error)
        self.ids.add(entry.id)


def view(
    masks: str,
    images: Path,
    *,
    output: str | None,
    no_clobber: bool,
    overlays: Path | None,
    depth: int | None,
    on_error: str,
) -> int:
    """Write a report, overlays, or both.

    Parameters
    ----------
    masks : str
        A masks file of any form; ``-`` is standard input.
    images : Path
        Folder of the images.
    output : str, optional
        Path of the report; ``-`` is standard output.
    no_clobber : bool
        Refuse to replace an existing report or overlay.
    overlays : Path, optional
        Folder for overlays, one PNG per image.
    depth : int, optional
        Largest number of ancestors of masks that overlays show.
    on_error : {'fail', 'skip'}
        Whether an image that cannot be read ends the run or is skipped.

    Returns
    -------
    int
        The exit code: 0, or 3 when images were skipped.

    Raises
    ------
    UnsamError
        An input is missing or invalid, or an output cannot be written.
    """
    if output is not None:
        check_output(output, binary=False, no_clobber=no_clobber)
    if overlays is not None and overlays.resolve() == images.resolve():
        raise UsageError(f"{overlays}: overlays would replace the images; choose another folder")
    with local_file(masks) as path:
        found = read_masks(path, name=name_of(masks))
        places = {} if overlays is None else overlay_paths(_entries(found), overlays)
        there = next((place for place in places.values() if place.exists()), None)
        if no_clobber and there is not None:
            raise UsageError(f"{there}: exists, and --no-clobber was given")
        _refuse_replacing(found, path, images, output, places)
        skipped = _Skipped(ErrorList(output or str(overlays), "view", on_error))
        if output is not None:
            settings = ReportSettings(title="masks" if masks == STDIN else Path(masks).name)
            loader = image_loader(images, longest=settings.longest)

            def write(target: Path) -> None:
                with target.open("wb") as stream:
                    pages = found.image_masks(skipped)
                    write_report(pages, loader, stream, settings=settings, on_error=skipped)

            publish(output, write)
        if overlays is not None:
            write_overlays(
                found.image_masks(skipped),
                image_loader(images),
                places,
                depth=depth,
                no_clobber=no_clobber,
                on_error=skipped,
            )
    return EXIT_SKIPPED if skipped.ids else 0


def _entries(found: MasksFile) -> Iterator[ImageName]:
    for image_id in found.image_ids:
        info = found.images.get(image_id)
        yield ImageName(image_id, str(image_id) if info is None else info.file_name)


def _refuse_replacing(
    found: MasksFile, masks: Path, images: Path, output: str | None, places: Mapping[int, Path]
) -> None:
    """Refuse outputs that would replace the masks, a picture, or the report."""
    reports = [] if output is None else [output]
    refuse_doubles([*reports, *map(str, places.values())])
    names = [info.file_name for info in found.images.values()]
    writes = [*chain.from_iterable(map(files_of, reports)), *places.values()]
    refuse_replacing(writes, chain([masks], images_below(images, names)))
    refuse_pictures(places.values())
