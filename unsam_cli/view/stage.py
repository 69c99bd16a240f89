"""The whole of ``unsam view``: masks in, a report and overlays out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from unsam_cli.errors import EXIT_SKIPPED, UnsamError, UsageError
from unsam_cli.io.masks import MasksFile, read_masks
from unsam_cli.run.charts import check_chart
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
from unsam_cli.view.blocks import LoadImage
from unsam_cli.view.contact_sheet import MOST_PIXELS, TRUTH, write_figure
from unsam_cli.view.files import (
    image_loader,
    named,
    overlay_paths,
    write_overlays,
)
from unsam_cli.view.report import ReportSettings, write_report
from unsam_cli.view.sets import MaskSets, names_of
from unsam_cli.view.settings import FigureSettings


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

    def tell_annotations(self, files: Iterable[MasksFile]) -> None:
        """List the annotations that were left out of the images that are shown."""
        for file in files:
            for one in file.left_out.every:
                name = file.names.get(one.image_id, str(one.image_id))
                self.errors.add_annotations(name, [one])


@dataclass(frozen=True)
class Outputs:
    """What to write; None for what is not wanted.

    Attributes
    ----------
    report : str, optional
        Path of the report; ``-`` is standard output.
    overlays : Path, optional
        Folder for overlays, one PNG per image.
    figure : Path, optional
        Path of the figure.
    no_clobber : bool
        Refuse to replace an existing output.
    """

    report: str | None = None
    overlays: Path | None = None
    figure: Path | None = None
    no_clobber: bool = False


def view(
    masks: Sequence[str],
    images: Path,
    outputs: Outputs,
    *,
    names: str | None,
    figure: FigureSettings,
    truth: str | None,
    seed: int,
    depth: int | None,
    on_error: str,
) -> int:
    """Write a report, overlays, a figure, or several of them.

    Parameters
    ----------
    masks : sequence of str
        Masks files of any form; one may be ``-``, standard input. The report shows several files
        side by side.
    images : Path
        Folder of the images.
    outputs : Outputs
        What to write.
    names : str, optional
        What the files are called, with commas between the names; by default as their paths.
    figure : FigureSettings
        Which photographs the figure shows.
    truth : str, optional
        Masks file of the ground truth, for the figure.
    seed : int
        Seed of a random choice of photographs.
    depth : int, optional
        Largest number of ancestors of masks that overlays and figure show.
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
    inputs = [*masks, *([] if truth is None else [truth])]
    _check(masks, inputs, images, outputs)
    called = names_of(masks, names)
    with ExitStack() as stack:
        paths = [stack.enter_context(local_file(argument)) for argument in inputs]
        told = [name_of(argument) for argument in inputs]
        files = [read_masks(p, name=n, on_error=on_error) for p, n in zip(paths, told, strict=True)]
        listed = [image.file_name for file in files for image in file.images.values()]
        sets = MaskSets(called, files[: len(masks)], told[: len(masks)])
        places = _overlay_places(sets, outputs)
        _refuse_replacing(sets, paths, images, outputs, places)
        main = outputs.report or str(outputs.overlays or outputs.figure)
        skipped = _Skipped(ErrorList(main, "view", on_error))
        if outputs.report is not None:
            loader = image_loader(images, listed, longest=ReportSettings().longest)
            _write_report(sets, loader, outputs.report, skipped, title=_title(masks))
        if outputs.overlays is not None:
            write_overlays(
                files[0].image_masks(skipped),
                image_loader(images, listed),
                places,
                depth=depth,
                no_clobber=outputs.no_clobber,
                on_error=skipped,
            )
        if outputs.figure is not None:
            write_figure(
                outputs.figure,
                sets if truth is None else MaskSets([*called, TRUTH], files, told),
                image_loader(images, listed, longest=MOST_PIXELS),
                figure,
                truth=truth is not None,
                seed=seed,
                depth=depth,
                on_error=skipped,
            )
        skipped.tell_annotations(files)
    return EXIT_SKIPPED if skipped.errors.finish() else 0


def _check(masks: Sequence[str], inputs: Sequence[str], images: Path, outputs: Outputs) -> None:
    """Refuse what cannot be done, before any file is read."""
    report, overlays, figure = outputs.report, outputs.overlays, outputs.figure
    if inputs.count(STDIN) > 1:
        raise UsageError("only one file can be read from standard input")
    if report is not None:
        check_output(report, binary=False, no_clobber=outputs.no_clobber)
    if figure is not None:
        check_output(str(figure), binary=True, no_clobber=outputs.no_clobber)
        check_chart("--figure", figure, (".png", ".pdf"))
    if overlays is not None and len(masks) > 1:
        raise UsageError("--overlays takes one masks file; write those of each file by itself")
    if overlays is not None and overlays.resolve() == images.resolve():
        raise UsageError(f"{overlays}: overlays would replace the images; choose another folder")


def _overlay_places(sets: MaskSets, outputs: Outputs) -> dict[int, Path]:
    """Return the paths of overlays by image id, none of them taken if this matters."""
    if outputs.overlays is None:
        return {}
    entries = (named(sets.image(image_id)) for image_id in sets.image_ids)
    places = overlay_paths(entries, outputs.overlays)
    there = next((place for place in places.values() if place.exists()), None)
    if outputs.no_clobber and there is not None:
        raise UsageError(f"{there}: exists, and --no-clobber was given")
    return places


def _title(masks: Sequence[str]) -> str:
    return ", ".join("masks" if path == STDIN else Path(path).name for path in masks)


def _write_report(
    sets: MaskSets, loader: LoadImage, output: str, skipped: _Skipped, *, title: str
) -> None:
    settings = ReportSettings(title=title, names=sets.names)

    def write(target: Path) -> None:
        with target.open("wb") as stream:
            pages = sets.photographs(skipped)
            write_report(pages, loader, stream, settings=settings, on_error=skipped)

    publish(output, write)


def _refuse_replacing(
    sets: MaskSets,
    inputs: Sequence[Path],
    images: Path,
    outputs: Outputs,
    places: Mapping[int, Path],
) -> None:
    """Refuse outputs that would replace an input, a picture, or each other."""
    given = [output for output in (outputs.report, outputs.figure) if output is not None]
    single = [str(output) for output in given]
    refuse_doubles([*single, *map(str, places.values())])
    entries = map(sets.image, sets.image_ids)
    names = [entry["file_name"] for entry in entries if "file_name" in entry]
    writes = [*chain.from_iterable(map(files_of, single)), *places.values()]
    refuse_replacing(writes, chain(inputs, images_below(images, names)))
    refuse_pictures(places.values())
