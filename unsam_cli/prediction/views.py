"""The inputs of the network for an image: the whole image, and tiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unsam_cli.io.windows import Pixels, part, shrunk
from unsam_cli.models.inputs import test_size
from unsam_cli.prediction.settings import TileSettings
from unsam_cli.sampling import tile_starts


@dataclass(frozen=True, slots=True)
class View:
    """A rectangle of an image that becomes an input of the network.

    Attributes
    ----------
    x, y, width, height : int
        The rectangle in pixels of the image.
    inner : (h, w)
        Height and width of the rectangle after resizing, in pixels.
    padded : (H, W)
        Height and width of the network's input, which is padded on the right and below.
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
    settings: TileSettings,
    *,
    short: int,
    longest: int,
    multiple: int,
    least: int = 1,
    scale: float = 0,
) -> list[View]:
    """Return the whole image at reduced size, then, if there are any, its tiles row by row.

    Tiles have the image's resolution, times `scale` if that is not 0. They have equal sizes, share
    at least ``settings.shared`` pixels with their neighbours, and cover the image. An image that
    fits into one tile has no tiles.

    Parameters
    ----------
    height, width : int
        Height and width of the image, in pixels.
    settings : TileSettings
        The tiles.
    short, longest : int
        Length of the short side of the whole image as input, and limit of the long side, in pixels.
    multiple : int
        Both sides of the input are padded to multiples of this number.
    least : int
        Least height and width of the input, in pixels.
    scale : float
        If not 0, factor by which tiles and the whole image are resized; it replaces `short`.
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
            for y in tile_starts(height, h, settings.shared)
            for x in tile_starts(width, w, settings.shared)
        ]
    return views


def see(picture: Pixels, view: View) -> NDArray[np.uint8]:
    """Cut a view out of an image (H, W, 3) and resize it to its inner size.

    Notes
    -----
    The filter is Pillow's bilinear one, as in the inference of the published model.
    """
    return shrunk(part(picture, (view.x, view.y, view.width, view.height)), view.inner)
