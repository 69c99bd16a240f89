"""Masks drawn over a photograph, as one picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unsam_cli.errors import MaskFileError
from unsam_cli.io.masks import Annotation
from unsam_cli.rle import Rle, boxes, decode_window, resize
from unsam_cli.view.colours import hierarchy_colours
from unsam_cli.view.hierarchy import forest
from unsam_cli.view.prompts import draw_prompts

_FAINT = 0.4  # what remains of a whole beside its parts, relative to a part
_PIXELS_PER_LINE = 900  # one more pixel of border for so many pixels of picture
_ROWS = 256  # blended at a time, which bounds the working memory


def draw_overlay(
    rgb: NDArray[np.uint8],
    annotations: Sequence[Annotation],
    *,
    depth: int | None = None,
    opacity: float = 0.5,
) -> NDArray[np.uint8]:
    """Tint every mask in a colour of its own and draw its border, and what it was asked for with.

    Masks are painted from large to small, so that parts lie over wholes; what a whole keeps beside
    its parts is tinted more faintly. Beside the picture this needs memory for one label a pixel,
    whatever the number of masks.

    Parameters
    ----------
    rgb : (H, W, 3) uint8
        The photograph.
    annotations : sequence of Annotation
        Its masks; of another resolution than the photograph, they are resized.
    depth : int, optional
        Show only masks with at most so many ancestors: 0 shows the wholes. Default: all.
    opacity : float
        Of the tint, 0..1.

    Returns
    -------
    (H, W, 3) uint8
        A new picture.

    Raises
    ------
    MaskFileError
        If the masks have other proportions than the photograph.
    """
    h, w, _ = rgb.shape
    out = rgb.copy()
    if not annotations:
        return out
    tree = forest(annotations)
    shown = tree.revealed(depth)
    colours = np.vstack([np.zeros((1, 3), np.uint8), hierarchy_colours(tree.parents, tree.depths)])
    weights = np.concatenate([[0.0], np.where(tree.wholes(shown), _FAINT, 1.0)]) * opacity
    visible = [int(i) for i in tree.order if shown[i]]
    labels = _label(fitted([annotations[i].rle for i in visible], (h, w)), visible, (h, w))
    for top in range(0, h, _ROWS):
        rows = slice(top, top + _ROWS)
        _blend(out[rows], colours[labels[rows]], weights[labels[rows]])
    _draw_borders(out, labels, 1 + max(h, w) // _PIXELS_PER_LINE)
    draw_prompts(out, [annotations[i] for i in visible])
    return out


def fitted(rles: Sequence[Rle], size: tuple[int, int]) -> list[Rle]:
    """Masks at the resolution (H, W) of a picture.

    Raises
    ------
    MaskFileError
        If a mask has other proportions than the picture, as when one of them is turned.
    """
    h, w = size
    out = []
    for rle in rles:
        height, width = rle["size"]
        # Rounding a side to whole pixels may move the proportions by half a pixel on either side.
        if abs(height * w - width * h) > max(height, width, h, w):
            raise MaskFileError(
                f"the masks are for {width}x{height} pixels, but the image has {w}x{h}: is "
                "it the right image?"
            )
        out.append(rle if (height, width) == (h, w) else resize(rle, size))
    return out


def _label(rles: list[Rle], names: list[int], size: tuple[int, int]) -> NDArray[np.unsignedinteger]:
    """Paint each mask's name + 1 into a map, (H, W) unsigned; 0 where there is no mask."""
    labels = np.zeros(size, dtype=np.min_scalar_type(max(names, default=0) + 1))
    for rle, name, (x, y, w, h) in zip(rles, names, boxes(rles).tolist(), strict=True):
        if w and h:
            labels[y : y + h, x : x + w][decode_window(rle, x, y, w, h)] = name + 1
    return labels


def _blend(rgb: NDArray[np.uint8], colour: NDArray[np.uint8], weight: NDArray[np.float64]) -> None:
    """Mix a colour into a picture, in place."""
    share = np.round(256 * weight).astype(np.uint16)[..., None]
    rgb[...] = (rgb * (256 - share) + colour * share) >> 8


def _draw_borders(rgb: NDArray[np.uint8], labels: NDArray[np.unsignedinteger], width: int) -> None:
    """Draw a light line with a dark one beside it, `width` pixels each, where labels change."""
    light = np.zeros(labels.shape, dtype=np.bool_)
    dark = np.zeros(labels.shape, dtype=np.bool_)
    for k in range(1, width + 1):
        across, down = labels[:, k:] != labels[:, :-k], labels[k:] != labels[:-k]
        light[:, k:] |= across
        light[k:] |= down
        dark[:, :-k] |= across
        dark[:-k] |= down
    dark &= ~light
    rgb[dark] //= 3
    rgb[light] = 255 - (255 - rgb[light]) // 3
