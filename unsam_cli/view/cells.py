"""The pictures of a figure: a photograph, and below it the masks of each file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unsam_cli.io.masks import Annotation
from unsam_cli.view.agreement import common_colours, same_regions
from unsam_cli.view.hierarchy import forest
from unsam_cli.view.overlays import tint, visible, weights
from unsam_cli.view.prompts import asked
from unsam_cli.view.sets import Photograph

_OPACITY = 0.5
Click = tuple[float, float, int]


@dataclass(frozen=True, slots=True)
class Cell:
    """One picture of a figure.

    Attributes
    ----------
    rgb : (h, w, 3) uint8
        The photograph, tinted where masks are.
    borders : (n, 2, 2) int64
        Lines between masks: x, y of both ends, in pixels of `rgb` from its upper left corner.
    clicks : list of (x, y, label)
        Clicks that masks were prompted with, in the same unit. Label 1 is inside of the object.
    note : str
        A few words about the masks.
    """

    rgb: NDArray[np.uint8]
    borders: NDArray[np.int64]
    clicks: list[Click]
    note: str = ""


def column_of(
    photograph: Photograph,
    rgb: NDArray[np.uint8],
    notes: Sequence[str],
    *,
    depth: int | None = None,
) -> list[Cell]:
    """Make the cells of one photograph.

    Parameters
    ----------
    photograph : Photograph
        The masks of each row. Where the same is visible in several rows, it has one colour.
    rgb : (h, w, 3) uint8
        The photograph, at the size of the cells.
    notes : sequence of str
        A text for each row.
    depth : int, optional
        Show only masks with at most this number of ancestors.

    Returns
    -------
    list of Cell
        The photograph with all clicks, then a cell for each set of masks.

    Raises
    ------
    MaskFileError
        The masks have another aspect ratio than the photograph.
    """
    size = rgb.shape[0], rgb.shape[1]
    trees = [forest(masks) for masks in photograph.sets]
    maps = [
        visible(masks, tree, size, depth=depth)
        for masks, tree in zip(photograph.sets, trees, strict=True)
    ]
    objects = same_regions(maps, [len(masks) for masks in photograph.sets])
    rows = []
    parts = zip(photograph.sets, trees, maps, common_colours(trees, objects), notes, strict=True)
    for masks, tree, labels, colours, note in parts:
        drawn = rgb.copy()
        tint(drawn, labels, colours, weights(tree, depth) * _OPACITY)
        shown = [m for m, there in zip(masks, tree.revealed(depth), strict=True) if there]
        rows.append(Cell(drawn, _edges(labels), _clicks(shown, size), note))
    every = list(dict.fromkeys(click for row in rows for click in row.clicks))
    return [Cell(rgb, np.zeros((0, 2, 2), np.int64), every), *rows]


def resized(rgb: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Resize a picture (H, W, 3) uint8 to a size in pixels."""
    return np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.LANCZOS))


def _clicks(masks: Sequence[Annotation], size: tuple[int, int]) -> list[Click]:
    prompts = [asked(m, size) for m in masks if "prompt_id" in m.extra]
    clicks = [click for prompt in prompts if prompt is not None for click in prompt.points]
    return list(dict.fromkeys(clicks))


def _edges(labels: NDArray[np.unsignedinteger]) -> NDArray[np.int64]:
    """Return the lines between pixels with different labels, (n, 2, 2): x, y of both ends."""
    down = _runs(labels[:, 1:] != labels[:, :-1])  # right of column x, from row y to row end
    across = _runs((labels[1:] != labels[:-1]).T)
    vertical = np.stack([down[:, [0, 0]] + 1, down[:, 1:]], axis=-1)
    horizontal = np.stack([across[:, 1:], across[:, [0, 0]] + 1], axis=-1)
    return np.concatenate([vertical, horizontal])


def _runs(marked: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the runs of True in each column, (n, 3): column, first row, row after the last."""
    steps = np.diff(marked.T.astype(np.int8), axis=1, prepend=0, append=0)
    column, first = np.nonzero(steps == 1)
    last = np.nonzero(steps == -1)[1]
    return np.stack([column, first, last], axis=-1)
