"""A contact sheet for print: photographs beside each other, the masks of each file below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unsam_cli.errors import UsageError
from unsam_cli.view.cells import Cell

DOTS = 300
"""Dots per inch of pictures in figures."""
# In pixels at DOTS per inch.
_WIDTH = 7 * DOTS  # the text of a page in two columns
_TALLEST = 3 * DOTS
_PAGE = 9 * DOTS  # the height of a block on a page
_MOST = 60_000  # a limit of the renderer
_LABELS, _GAP, _BLOCK_GAP, _MARGIN = 64, 8, 36, 4
_POINT = DOTS / 72  # a point of a font, in pixels
_FONT, _SMALL, _LEAST_FONT = 7.0, 5.0, 4.0  # in points
_DENSE = 0.07  # borders per pixel, above which lines are finer
_INSIDE, _OUTSIDE = "#3ddc84", "#ff5a5f"


@dataclass(frozen=True, slots=True)
class Sheet:
    """What a figure shows.

    Attributes
    ----------
    labels : list of str
        Name of each row.
    blocks : list of list of list of Cell
        Columns of cells, beside each other; each block lies below the one before. The cells of a
        block have one height, and columns a cell for each row.
    """

    labels: list[str]
    blocks: list[list[list[Cell]]]


def cell_sizes(proportions: Sequence[float], columns: int, rows: int = 1) -> list[tuple[int, int]]:
    """Return the sizes, (width, height) in pixels, of the cells of a block of one height.

    Parameters
    ----------
    proportions : sequence of float
        Width divided by height of each photograph.
    columns : int
        Number of photographs that fill the width of the figure.
    rows : int
        Number of cells below each other, which fit on a page.
    """
    usable = _WIDTH - _LABELS - 2 * _MARGIN - _GAP * (columns - 1)
    total = sum(proportions) * max(1.0, columns / len(proportions))
    tallest = min(_TALLEST, (_PAGE + _GAP) // rows - _GAP)
    height = max(1, min(tallest, int(usable / total)))
    return [(max(1, int(height * proportion)), height) for proportion in proportions]


def draw_figure(path: Path, sheet: Sheet, *, kind: str) -> None:
    """Draw a figure; lines and texts are vectors in a PDF.

    Parameters
    ----------
    path : Path
        Path of the picture.
    sheet : Sheet
        What to show.
    kind : {'png', 'pdf'}
        Format of the picture.

    Raises
    ------
    UsageError
        The figure would be too high.
    """
    import warnings

    import matplotlib
    from matplotlib.figure import Figure

    places, width, height = _layout(sheet)
    if height > _MOST:
        raise UsageError(
            f"--figure would be {height / DOTS:.0f} inches high; select fewer images, or raise "
            "--columns"
        )
    # No dates, so that equal inputs give equal figures. Type 42: publishers refuse Type 3 fonts.
    plain = {"CreationDate": None} if kind == "pdf" else {"Software": "unsam"}
    with matplotlib.rc_context({"pdf.fonttype": 42}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a name in a script without a font
        page = _Page(Figure(figsize=(width / DOTS, height / DOTS), dpi=DOTS), width, height)
        for cell, x, y in places:
            page.draw(cell, x, y)
        for label, y, tall in _label_places(sheet):
            page.label(label, y, tall)
        # Higher levels of zlib take several times as long and gain little on photographs.
        faster = {"pil_kwargs": {"compress_level": 2}} if kind == "png" else {}
        page.figure.savefig(path, format=kind, dpi=DOTS, metadata=plain, **faster)


def _layout(sheet: Sheet) -> tuple[list[tuple[Cell, int, int]], int, int]:
    """Return cells with their upper left corners, and the size of the figure, in pixels."""
    places = []
    right, top = 0, _MARGIN
    for block in sheet.blocks:
        tall, x = _height(block), _MARGIN + _LABELS
        for column in block:
            for row, cell in enumerate(column):
                places.append((cell, x, top + row * (tall + _GAP)))
            x += column[0].rgb.shape[1] + _GAP
        right = max(right, x - _GAP)
        top += len(sheet.labels) * (tall + _GAP) - _GAP + _BLOCK_GAP
    return places, right + _MARGIN, top - _BLOCK_GAP + _MARGIN


def _label_places(sheet: Sheet) -> Iterator[tuple[str, int, int]]:
    """Yield the label of each row of each block, with the top and the height of the row."""
    top = _MARGIN
    for block in sheet.blocks:
        tall = _height(block)
        for row, label in enumerate(sheet.labels):
            yield label, top + row * (tall + _GAP), tall
        top += len(sheet.labels) * (tall + _GAP) - _GAP + _BLOCK_GAP


def _height(block: Sequence[Sequence[Cell]]) -> int:
    return len(block[0][0].rgb)


@dataclass(frozen=True, slots=True)
class _Page:
    """A figure of matplotlib, drawn on in pixels from its upper left corner."""

    figure: Any
    width: int
    height: int

    def draw(self, cell: Cell, x: int, y: int) -> None:
        h, w, _ = cell.rgb.shape
        place = (x / self.width, 1 - (y + h) / self.height, w / self.width, h / self.height)
        axes = self.figure.add_axes(place)
        axes.set_axis_off()
        axes.imshow(cell.rgb, extent=(0, w, h, 0), interpolation="none", aspect="auto")
        fine = _fineness(cell)
        for width, colour in ((0.9, (0.03, 0.04, 0.05, 0.55)), (0.35, (1.0, 1.0, 1.0, 0.9))):
            _stroke(axes, cell.borders, width * fine, colour)
        for inside, face in ((1, _INSIDE), (0, _OUTSIDE)):
            at = [(px, py) for px, py, label in cell.clicks if label == inside]
            style = {"mfc": face, "mec": "black", "mew": 0.4, "ms": 7}
            axes.plot(*zip(*at, strict=True), "*", **style) if at else None
        axes.set(xlim=(0, w), ylim=(h, 0))
        if cell.note:
            box = {"boxstyle": "round,pad=0.25", "fc": (0.0, 0.0, 0.0, 0.65), "ec": "none"}
            axes.text(
                *(w - 12, h - 12, cell.note),
                ha="right",
                va="bottom",
                color="white",
                fontsize=_SMALL,
                bbox=box,
                parse_math=False,
            )

    def label(self, text: str, y: int, tall: int) -> None:
        shown = "".join(c if c.isprintable() else "\ufffd" for c in text)
        longest = 0.62 * len(shown) * _FONT * _POINT  # of a typical letter of the font
        size = max(_LEAST_FONT, _FONT * min(1.0, tall / max(longest, 1)))
        self.figure.text(
            (_MARGIN + _LABELS / 2 - _GAP) / self.width,
            1 - (y + tall / 2) / self.height,
            shown,
            rotation=90,
            ha="center",
            va="center",
            fontsize=size,
            parse_math=False,
        )


def _fineness(cell: Cell) -> float:
    """Return how much finer the lines of a crowded cell are, lest they hide the masks."""
    length = np.abs(np.diff(cell.borders, axis=1)).sum()
    h, w, _ = cell.rgb.shape
    return float(np.clip(_DENSE * h * w / max(length, 1), 0.4, 1.0))


def _stroke(axes: Any, lines: NDArray[np.int64], width: float, colour: tuple[float, ...]) -> None:
    """Draw lines, (n, 2, 2): x, y of both ends, as one path; `width` is in points."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Outline

    if len(lines):
        codes = np.tile([Outline.MOVETO, Outline.LINETO], len(lines))
        style = {"fill": False, "lw": width, "ec": colour, "capstyle": "projecting", "snap": False}
        # `add_patch` would measure every line for the limits of the axes, which are known.
        axes.add_artist(PathPatch(Outline(lines.reshape(-1, 2), codes), **style))
