"""Random views of an image for training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from unsam_cli.models.inputs import MEAN
from unsam_cli.rle import Rle, crop, decode, resize
from unsam_cli.training.bitmasks import BitMasks
from unsam_cli.training.colours import Colours
from unsam_cli.training.recipe import DataSettings

PADDING = tuple(round(value) for value in MEAN)
"""Colour (R, G, B) of the padding right of images and below them, which is never part of a mask.

The published training pads with 128, but its inference pads with zeros after normalisation; a
network trained on the one padding performed badly with the other.
"""


@dataclass(frozen=True, slots=True)
class CropView:
    """A rectangle of an image, resized and possibly flipped and rotated.

    Attributes
    ----------
    x, y, w, h : int
        Left, top, width and height of the rectangle, in pixels of the image.
    width, height : int
        Its size in the view, in pixels.
    flip : bool
        Whether it is flipped horizontally.
    turns : int
        Number of counterclockwise rotations of the padded square by 90 degrees, after the flip.
    """

    x: int
    y: int
    w: int
    h: int
    width: int
    height: int
    flip: bool
    turns: int = 0


def draw_view(rng: np.random.Generator, size: tuple[int, int], settings: DataSettings) -> CropView:
    """Draw a view of an image.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of all randomness.
    size : (H, W)
        Height and width of the image, in pixels.
    settings : DataSettings
        `crop`, `jitter`, `scale`, `flip` and `turn` are used.

    Notes
    -----
    Without jitter the image keeps its size, as published for UnSAM. With jitter, its longer side
    becomes the crop's side times a random factor ("large-scale jitter"). With `scale`, the image is
    resized by `scale` times the factor instead. If the result exceeds the crop, the crop's position
    is random. Pixels are cropped before resizing, so the scale is exact up to rounding to pixels.

    References
    ----------
    Ghiasi et al., "Simple Copy-Paste is a Strong Data Augmentation Method for Instance
    Segmentation" (2021), section 3.
    """
    height, width = size
    scale = 1.0
    if settings.jitter is not None:
        scale = rng.uniform(*settings.jitter)
    if settings.scale:
        scale *= settings.scale
    elif settings.jitter is not None:
        scale *= settings.crop / max(size)
    h = min(height, max(1, round(settings.crop / scale)))
    w = min(width, max(1, round(settings.crop / scale)))
    return CropView(
        x=int(rng.integers(width - w + 1)),
        y=int(rng.integers(height - h + 1)),
        w=w,
        h=h,
        width=min(settings.crop, max(1, round(w * scale))),
        height=min(settings.crop, max(1, round(h * scale))),
        flip=bool(rng.random() < settings.flip),
        turns=int(rng.integers(1, 4)) if rng.random() < settings.turn else 0,
    )


def view_image(
    pixels: NDArray[np.uint8], view: CropView, side: int, colours: Colours | None = None
) -> Tensor:
    """Apply a view to an image and pad the result to a square.

    Parameters
    ----------
    pixels : (H, W, 3) uint8
        RGB.
    view : CropView
        Crop, size, flip and rotation.
    side : int
        Side of the square, in pixels.
    colours : Colours, optional
        Change of colours; by default none.

    Returns
    -------
    (3, side, side) uint8 tensor
        RGB; the padding has the colour `PADDING`.
    """
    part = pixels[view.y : view.y + view.h, view.x : view.x + view.w]
    image = torch.from_numpy(np.ascontiguousarray(part)).permute(2, 0, 1)
    if (view.height, view.width) != (view.h, view.w):
        image = transforms.resize(image, [view.height, view.width], antialias=True)
    if colours is not None:
        image = colours.change(image)
    if view.flip:
        image = transforms.horizontal_flip(image)
    room = [0, 0, side - view.width, side - view.height]
    padded: Tensor = transforms.pad(image, room, fill=list(PADDING))
    return padded.rot90(view.turns, (1, 2))


def view_masks(masks: Sequence[Rle], view: CropView, side: int) -> BitMasks:
    """Apply a view to masks as `view_image` does to their image; drop masks that become empty.

    Only the pixels inside the crop are decoded. The result is `side` x `side` pixels.
    """
    return BitMasks.pack(_seen(masks, view, side), (side, side))


def _seen(masks: Sequence[Rle], view: CropView, side: int) -> Iterator[NDArray[np.bool_]]:
    for mask in masks:
        part = crop(mask, view.x, view.y, view.w, view.h)
        if (view.height, view.width) != (view.h, view.w):
            part = resize(part, (view.height, view.width))
        pixels = decode(part)
        if pixels.any():
            square = np.zeros((side, side), dtype=np.bool_, order="F")
            square[: view.height, : view.width] = pixels[:, ::-1] if view.flip else pixels
            yield np.rot90(square, view.turns)
