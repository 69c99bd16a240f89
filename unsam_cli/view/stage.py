"""The whole of ``unsam view``: masks in, a report and overlays out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any

from unsam_cli.errors import EXIT_SKIPPED, UnsamError, UsageError
from unsam_cli.io.masks import read_masks
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
from unsam_cli.view.sets import MaskSets, names_of


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
    masks: Sequence[str],
    images: Path,
    *,
    names: str | None,
    output: str | None,
    no_clobber: bool,
    overlays: Path | None,
    depth: int | None,
    on_error: str,
) -> int:
    """Write a report, overlays, or both.

    Parameters
    ----------
    masks : sequence of str
        Masks files of any form; one may be ``-``, standard input. The report shows several files
        side by side.
    images : Path
        Folder of the images.
    names : str, optional
        What the files are called, with commas between the names; by default as their paths.
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
    _check(masks, images, output, no_clobber, overlays)
    called = names_of(masks, names)
    with ExitStack() as stack:
        paths = [stack.enter_context(local_file(argument)) for argument in masks]
        told = [name_of(argument) for argument in masks]
        files = [read_masks(p, name=n) for p, n in zip(paths, told, strict=True)]
        sets = MaskSets(called, files, told)
        places = {} if overlays is None else overlay_paths(_entries(sets), overlays)
        there = next((place for place in places.values() if place.exists()), None)
        if no_clobber and there is not None:
            raise UsageError(f"{there}: exists, and --no-clobber was given")
        _refuse_replacing(sets, paths, images, output, places)
        skipped = _Skipped(ErrorList(output or str(overlays), "view", on_error))
        if output is not None:
            _write_report(sets, images, output, skipped, title=_title(masks))
        if overlays is not None:
            write_overlays(
                files[0].image_masks(skipped),
                image_loader(images),
                places,
                depth=depth,
                no_clobber=no_clobber,
                on_error=skipped,
            )
    return EXIT_SKIPPED if skipped.ids else 0


def _check(
    masks: Sequence[str], images: Path, output: str | None, no_clobber: bool, overlays: Path | None
) -> None:
    """Refuse what cannot be done, before any file is read."""
    if masks.count(STDIN) > 1:
        raise UsageError("only one file can be read from standard input")
    if output is not None:
        check_output(output, binary=False, no_clobber=no_clobber)
    if overlays is not None and len(masks) > 1:
        raise UsageError("--overlays takes one masks file; write those of each file by itself")
    if overlays is not None and overlays.resolve() == images.resolve():
        raise UsageError(f"{overlays}: overlays would replace the images; choose another folder")


def _title(masks: Sequence[str]) -> str:
    return ", ".join("masks" if path == STDIN else Path(path).name for path in masks)


def _write_report(
    sets: MaskSets, images: Path, output: str, skipped: _Skipped, *, title: str
) -> None:
    settings = ReportSettings(title=title, names=sets.names)
    loader = image_loader(images, longest=settings.longest)

    def write(target: Path) -> None:
        with target.open("wb") as stream:
            pages = sets.photographs(skipped)
            write_report(pages, loader, stream, settings=settings, on_error=skipped)

    publish(output, write)


def _entries(sets: MaskSets) -> Iterator[ImageName]:
    return (named(sets.image(image_id)) for image_id in sets.image_ids)


def _refuse_replacing(
    sets: MaskSets,
    masks: Sequence[Path],
    images: Path,
    output: str | None,
    places: Mapping[int, Path],
) -> None:
    """Refuse outputs that would replace the masks, a picture, or the report."""
    reports = [] if output is None else [output]
    refuse_doubles([*reports, *map(str, places.values())])
    entries = map(sets.image, sets.image_ids)
    names = [entry["file_name"] for entry in entries if "file_name" in entry]
    writes = [*chain.from_iterable(map(files_of, reports)), *places.values()]
    refuse_replacing(writes, chain(masks, images_below(images, names)))
    refuse_pictures(places.values())
