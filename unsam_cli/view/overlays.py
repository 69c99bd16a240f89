"""Masks drawn over a photograph, as one picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unsam_cli.io.masks import Annotation
from unsam_cli.rle import Rle, boxes, decode_window
from unsam_cli.view.colours import hierarchy_colours
from unsam_cli.view.hierarchy import Forest, fitted, forest
from unsam_cli.view.prompts import draw_prompts

_FAINT = 0.4  # opacity of a whole outside of its parts, relative to that of a part
_PIXELS_PER_LINE = 900  # pixels of the picture's side per pixel of line width
_ROWS = 256  # rows blended at a time, which limits the working memory


def draw_overlay(
    rgb: NDArray[np.uint8],
    annotations: Sequence[Annotation],
    *,
    depth: int | None = None,
    opacity: float = 0.5,
) -> NDArray[np.uint8]:
    """Tint every mask in its own colour, and draw its border and its prompt.

    Masks are painted from large to small, so parts lie over wholes. The rest of a whole outside of
    its parts is tinted more faintly. In addition to the picture this takes memory for one label per
    pixel, whatever the number of masks.

    Parameters
    ----------
    rgb : (H, W, 3) uint8
        The photograph.
    annotations : sequence of Annotation
        The masks. If they have another resolution than the photograph, they are resized.
    depth : int, optional
        Show only masks with at most this number of ancestors; 0 shows the wholes. By default all
        masks are shown.
    opacity : float
        Opacity of the tint, 0..1.

    Returns
    -------
    (H, W, 3) uint8
        A new picture.

    Raises
    ------
    MaskFileError
        The masks have another aspect ratio than the photograph.
    """
    out = rgb.copy()
    draw_over(out, annotations, depth=depth, opacity=opacity)
    return out


def draw_over(
    rgb: NDArray[np.uint8],
    annotations: Sequence[Annotation],
    *,
    depth: int | None = None,
    opacity: float = 0.5,
) -> None:
    """Draw masks into a photograph, (H, W, 3) uint8, as :func:`draw_overlay` does into a copy."""
    h, w, _ = rgb.shape
    if not annotations:
        return
    tree = forest(annotations)
    labels = visible(annotations, tree, (h, w), depth=depth)
    colours = hierarchy_colours(tree.parents, tree.depths)
    tint(rgb, labels, colours, weights(tree, depth) * opacity)
    _draw_borders(rgb, labels, 1 + max(h, w) // _PIXELS_PER_LINE)
    shown = tree.revealed(depth)
    draw_prompts(rgb, [annotations[i] for i in tree.order if shown[i]])


def visible(
    annotations: Sequence[Annotation],
    tree: Forest,
    size: tuple[int, int],
    *,
    depth: int | None = None,
) -> NDArray[np.unsignedinteger]:
    """Return the smallest mask at each pixel of a picture, (H, W): its index + 1; 0 is none.

    Parameters
    ----------
    annotations, depth
        See :func:`draw_overlay`.
    tree : Forest
        The hierarchy of the masks.
    size : (H, W)
        Height and width of the picture, in pixels.

    Raises
    ------
    MaskFileError
        The masks have another aspect ratio than the picture.
    """
    shown = tree.revealed(depth)
    names = [int(i) for i in tree.order if shown[i]]
    return _label(fitted([annotations[i].rle for i in names], size), names, size)


def weights(tree: Forest, depth: int | None) -> NDArray[np.float64]:
    """Return the opacity of each mask relative to that of a part, (n,) float64, 0..1."""
    return np.where(tree.wholes(tree.revealed(depth)), _FAINT, 1.0)


def tint(
    rgb: NDArray[np.uint8],
    labels: NDArray[np.unsignedinteger],
    colours: NDArray[np.uint8],
    opacity: NDArray[np.float64],
) -> None:
    """Blend the colours of n masks into a picture, (H, W, 3) uint8, in place.

    Parameters
    ----------
    rgb : (H, W, 3) uint8
        The picture.
    labels : (H, W) unsigned integer
        Index + 1 of the mask at each pixel; 0 is none.
    colours : (n, 3) uint8
        Colour of each mask.
    opacity : (n,) float64
        Opacity of each mask, 0..1.
    """
    palette = np.vstack([np.zeros((1, 3), np.uint8), colours])
    shares = np.concatenate([[0.0], opacity])
    for top in range(0, len(rgb), _ROWS):
        rows = slice(top, top + _ROWS)
        _blend(rgb[rows], palette[labels[rows]], shares[labels[rows]])


def _label(rles: list[Rle], names: list[int], size: tuple[int, int]) -> NDArray[np.unsignedinteger]:
    """Paint each mask's name + 1 into a map, (H, W) unsigned; 0 means no mask."""
    labels = np.zeros(size, dtype=np.min_scalar_type(max(names, default=0) + 1))
    for rle, name, (x, y, w, h) in zip(rles, names, boxes(rles).tolist(), strict=True):
        if w and h:
            labels[y : y + h, x : x + w][decode_window(rle, x, y, w, h)] = name + 1
    return labels


def _blend(rgb: NDArray[np.uint8], colour: NDArray[np.uint8], weight: NDArray[np.float64]) -> None:
    """Blend colours into a picture, (H, W, 3) uint8, in place, by a weight 0..1 per pixel."""
    share = np.round(256 * weight).astype(np.uint16)[..., None]
    rgb[...] = (rgb * (256 - share) + colour * share) >> 8


def _draw_borders(rgb: NDArray[np.uint8], labels: NDArray[np.unsignedinteger], width: int) -> None:
    """Draw a light and a dark line side by side, `width` pixels each, where labels change."""
    height = len(rgb)
    for top in range(0, height, _ROWS):
        bottom = min(top + _ROWS, height)
        begin, end = max(top - width, 0), min(bottom + width, height)
        inner = slice(top - begin, bottom - begin)
        light, dark = (lines[inner] for lines in _lines(labels[begin:end], width))
        rows = rgb[top:bottom]
        rows[dark] //= 3
        rows[light] = 255 - (255 - rows[light]) // 3


def _lines(
    labels: NDArray[np.unsignedinteger], width: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the light and the dark line along changes of labels, each (h, w) bool."""
    light = np.zeros(labels.shape, dtype=np.bool_)
    dark = np.zeros(labels.shape, dtype=np.bool_)
    for k in range(1, width + 1):
        across, down = labels[:, k:] != labels[:, :-k], labels[k:] != labels[:-k]
        light[:, k:] |= across
        light[k:] |= down
        dark[:, :-k] |= across
        dark[:-k] |= down
    dark &= ~light
    return light, dark
