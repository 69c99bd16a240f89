"""What of an image the network is shown: all of it, and tiles of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unsam_cli.models.inputs import test_size
from unsam_cli.prediction.settings import PredictSettings


@dataclass(frozen=True, slots=True)
class View:
    """A rectangle of an image, as the network sees it.

    Attributes
    ----------
    x, y, width, height : int
        The rectangle in pixels of the image.
    inner : (h, w)
        Its size in pixels after resizing.
    padded : (H, W)
        Size of the network's input, padded on the right and below.
    """

    x: int
    y: int
    width: int
    height: int
    inner: tuple[int, int]
    padded: tuple[int, int]


def plan_views(
    height: int,
    width: int,
    settings: PredictSettings,
    *,
    short: int,
    longest: int,
    multiple: int,
    least: int = 1,
    scale: float = 0,
) -> list[View]:
    """Return the whole image at reduced size, then, if there are any, its tiles row by row.

    Tiles keep the image's resolution, times `scale`, are equally large, share at least
    ``settings.shared`` pixels with their neighbours, and cover the image. One that fits into a
    tile has none.

    Parameters
    ----------
    height, width : int
        Of the image in pixels.
    settings : PredictSettings
    short, longest : int
        Sides of the network's input for the whole image, in pixels.
    multiple : int
        Sides of the input are multiples of it.
    least : int
        Least height and width of the input, in pixels.
    scale : float
        If not 0, what the whole image is resized by instead, up to `longest`, and tiles are.
    """

    def view(x: int, y: int, w: int, h: int, inner: tuple[int, int]) -> View:
        high, wide = max(inner[0], least), max(inner[1], least)
        padded = high + -high % multiple, wide + -wide % multiple
        return View(x, y, w, h, inner, padded)

    if scale:
        short = max(1, round(min(height, width) * scale))
    views = [view(0, 0, width, height, test_size(height, width, short, longest))]
    if settings.tile is not None and max(height, width) > settings.tile:
        h, w = min(height, settings.tile), min(width, settings.tile)
        inner = max(1, round(h * (scale or 1))), max(1, round(w * (scale or 1)))
        views += [
            view(x, y, w, h, inner)
            for y in _starts(height, h, settings.shared)
            for x in _starts(width, w, settings.shared)
        ]
    return views


def _starts(length: int, tile: int, shared: int) -> list[int]:
    """Where the fewest tiles begin that cover `length` pixels, evenly spread."""
    if tile == length:
        return [0]
    gaps = -(-(length - tile) // (tile - shared))
    return [(length - tile) * i // gaps for i in range(gaps + 1)]


def see(rgb: NDArray[np.uint8], view: View) -> NDArray[np.uint8]:
    """Cut a view out of an image (H, W, 3) and resize it to its inner size.

    Notes
    -----
    Pillow's bilinear filter, as at inference of the published model.
    """
    pixels = rgb[view.y : view.y + view.height, view.x : view.x + view.width]
    if pixels.shape[:2] == view.inner:
        return pixels
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return np.array(image.resize(view.inner[::-1], Image.Resampling.BILINEAR))
