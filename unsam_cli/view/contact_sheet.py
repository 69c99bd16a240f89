"""Masks files in, a figure out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from unsam_cli.errors import DataError, UnsamError
from unsam_cli.run.output import publish
from unsam_cli.view.blocks import LoadImage
from unsam_cli.view.cells import Cell, column_of, resized
from unsam_cli.view.figure import Sheet, cell_sizes, draw_figure
from unsam_cli.view.selecting import chosen_ids, recall
from unsam_cli.view.sets import MaskSets, Photograph
from unsam_cli.view.settings import FigureSettings

PHOTOGRAPH, TRUTH = "photograph", "ground truth"
"""Labels of the rows beside those of the files."""

MOST_PIXELS = 2100
"""Longest side of a photograph that a figure can make use of, in pixels."""

OnError = Callable[[dict[str, Any], UnsamError], None]


def write_figure(
    path: Path,
    sets: MaskSets,
    load_image: LoadImage,
    settings: FigureSettings,
    *,
    truth: bool,
    seed: int,
    depth: int | None,
    on_error: OnError,
) -> None:
    """Write a contact sheet: a row of photographs, and a row for each file.

    Parameters
    ----------
    path : Path
        A .png or .pdf file.
    sets : MaskSets
        The masks; the last set is the ground truth if `truth` is set. It is the second row, and
        the other cells then show their recall.
    load_image : callable
        Returns the picture of an image entry, (H, W, 3) uint8.
    settings : FigureSettings
        Which photographs, and how many beside each other.
    truth, seed
        See :func:`~unsam_cli.view.selecting.chosen_ids`.
    depth : int, optional
        Show only masks with at most this number of ancestors.
    on_error : callable
        Called with the image entry and the error of an image, which is then left out.

    Raises
    ------
    UnsamError
        No image can be shown, or the figure cannot be written.
    """
    ids = chosen_ids(sets, settings, truth=truth, seed=seed, on_error=on_error)
    columns = min(settings.columns, len(ids))
    blocks = []
    for first in range(0, len(ids), columns):
        chosen = list(sets.photographs(on_error, ids[first : first + columns]))
        block = list(
            _block(chosen, load_image, columns, truth=truth, depth=depth, on_error=on_error)
        )
        blocks += [block] if block else []
    if not blocks:
        raise DataError(f"{path}: none of the chosen images can be shown; choose others")
    names = list(sets.names)
    rows = [names[-1], *names[:-1]] if truth else names
    sheet = Sheet([PHOTOGRAPH, *rows], blocks)
    kind = path.suffix.lower().removeprefix(".")
    publish(str(path), lambda target: draw_figure(target, sheet, kind=kind))


def _block(
    photographs: Sequence[Photograph],
    load_image: LoadImage,
    columns: int,
    *,
    truth: bool,
    depth: int | None,
    on_error: OnError,
) -> Iterator[list[Cell]]:
    """Yield the cells of photographs beside each other, without those that cannot be shown."""
    proportions = [_proportion(photograph) for photograph in photographs]
    rows = 1 + len(photographs[0].sets) if photographs else 1
    sizes = cell_sizes(proportions, columns, rows) if proportions else []
    for photograph, size in zip(photographs, sizes, strict=True):
        try:
            rgb = resized(load_image(photograph.image), *size)
            notes = _notes(photograph, truth=truth)
            yield column_of(_truth_first(photograph, truth=truth), rgb, notes, depth=depth)
        except UnsamError as error:
            on_error(photograph.image, error)


def _proportion(photograph: Photograph) -> float:
    """Width divided by height: of the image entry, or else of the masks."""
    sizes = [mask.rle["size"] for masks in photograph.sets for mask in masks[:1]]
    entry = photograph.image
    height, width = (
        (entry["height"], entry["width"]) if "height" in entry else next(iter(sizes), (3, 4))
    )
    return float(width / height)


def _truth_first(photograph: Photograph, *, truth: bool) -> Photograph:
    *found, last = photograph.sets
    return Photograph(photograph.image, (last, *found)) if truth else photograph


def _notes(photograph: Photograph, *, truth: bool) -> list[str]:
    """Return the text of each row: the recall of the masks, where there is a ground truth."""
    if not truth:
        return [""] * len(photograph.sets)
    *found, last = photograph.sets
    recalls = [recall(masks, last) for masks in found]
    return ["", *("" if value is None else f"recall {100 * value:.0f} %" for value in recalls)]
