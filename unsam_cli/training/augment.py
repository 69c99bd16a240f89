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
"""Colour right of images and below them; never part of a mask.

The published training has 128 there, but zeros after normalisation at inference: a network that
knew the one by heart was lost on the other.
"""


@dataclass(frozen=True, slots=True)
class CropView:
    """A rectangle of an image, resized, perhaps with left and right exchanged.

    Attributes
    ----------
    x, y, w, h : int
        The rectangle in pixels of the image.
    width, height : int
        Its size in the view, pixels.
    flip : bool
        Whether left and right are exchanged.
    turns : int
        How many times the square is then turned by 90 degrees.
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
    """Choose a view of an image of `size` (H, W) pixels.

    Notes
    -----
    Without jitter the image keeps its size, as published for UnSAM. With jitter its longer side
    becomes the crop's times a random number ("large-scale jitter"). What exceeds the crop is cut
    off at random. Pixels are cut before they are resized, so that the scale is exact to a pixel.

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
    """Return the view of an image, padded to a square.

    Parameters
    ----------
    pixels : (H, W, 3) uint8
        RGB.
    view : CropView
        What is seen.
    side : int
        Of the square, pixels.
    colours : Colours, optional
        What becomes of the colours.

    Returns
    -------
    (3, side, side) uint8 tensor
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
    """Return the view of masks, as `view_image` of their image; those that are empty are left out.

    Only what is seen is decoded.
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
