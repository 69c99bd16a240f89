"""Training samples: a view of an image, its masks, and a seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from unsam_cli.errors import UnsamError
from unsam_cli.training.augment import draw_view, view_image, view_masks
from unsam_cli.training.bitmasks import BitMasks
from unsam_cli.training.colours import draw_colours
from unsam_cli.training.copy_paste import paste
from unsam_cli.training.dataset import AnnotatedImages
from unsam_cli.training.recipe import DataSettings
from unsam_cli.training.skipped import Skipped, reason_to_skip

T = TypeVar("T")

_ATTEMPTS = 20  # the run ends after so many unreadable images in a row


@dataclass(frozen=True, slots=True)
class Sample:
    """One augmented image and its masks.

    Attributes
    ----------
    name : str
        File name of the image.
    image : (3, S, S) uint8 tensor
        RGB; S is the crop's side in pixels.
    masks : BitMasks
        At most `max_masks` masks, none of them empty.
    seed : int
        Seed of the augmentations and of the losses.
    skipped : tuple of Skipped
        Images that could not be read and were replaced, and annotations that were left out.
    """

    name: str
    image: Tensor
    masks: BitMasks
    seed: int
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True)
class SampleBatch:
    """B samples of equal size; see `Sample`.

    Attributes
    ----------
    names : list of B str
        File names of the images.
    images : (B, 3, S, S) uint8 tensor
        RGB.
    masks : list of B BitMasks
        Masks of each image.
    seeds : list of B int
        Seed of each image.
    skipped : list of Skipped
        Images that could not be read and were replaced, and annotations that were left out.
    """

    names: list[str]
    images: Tensor
    masks: list[BitMasks]
    seeds: list[int]
    skipped: list[Skipped]

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> SampleBatch:
        """Join samples of equal size."""
        return cls(
            names=[sample.name for sample in samples],
            images=torch.stack([sample.image for sample in samples]),
            masks=[sample.masks for sample in samples],
            seeds=[sample.seed for sample in samples],
            skipped=[one for sample in samples for one in sample.skipped],
        )

    def to(self, device: str) -> SampleBatch:
        """Move all tensors to a device."""
        return replace(
            self,
            images=self.images.to(device, non_blocking=True),
            masks=[masks.to(device) for masks in self.masks],
        )

    def pin_memory(self) -> SampleBatch:
        """Copy all tensors to page-locked memory, from which a GPU copies fastest."""
        return replace(
            self,
            images=self.images.pin_memory(),
            masks=[masks.pin_memory() for masks in self.masks],
        )


def make_sample(images: AnnotatedImages, index: int, seed: int, settings: DataSettings) -> Sample:
    """Read and augment the image at `index`; all randomness comes from `seed`.

    If ``settings.on_error`` is "skip", an image that cannot be read is replaced by another one.

    Raises
    ------
    UnsamError
        The image cannot be read or does not fit its annotations, or with "skip" 20 images in a row.
    """

    def read(chosen: int, rng: np.random.Generator) -> Sample:
        return _augmented(images, chosen, rng, seed, settings)

    sample, skipped = read_or_replace(read, images, index, seed, settings.on_error)
    return replace(sample, skipped=(*skipped, *sample.skipped))


def read_or_replace(
    read: Callable[[int, np.random.Generator], T],
    images: AnnotatedImages,
    index: int,
    seed: int,
    on_error: str,
) -> tuple[T, tuple[Skipped, ...]]:
    """Read an image; if that fails and `on_error` is "skip", read a random other one instead.

    Parameters
    ----------
    read : callable
        Reads the image at an index with a generator of random numbers.
    images : AnnotatedImages
        Images to choose replacements from.
    index, seed : int
        Index of the image, and seed of the random numbers.
    on_error : {"fail", "skip"}
        Whether to raise the first error, or to replace the image.

    Returns
    -------
    object
        Result of `read`.
    tuple of Skipped
        The images that could not be read, and the annotations that were left out of the one read.

    Raises
    ------
    UnsamError
        The image cannot be read, or with "skip" 20 images in a row, or the machine lacks a
        resource.
    """
    skipped: list[Skipped] = []
    for attempt in range(_ATTEMPTS):
        rng = np.random.default_rng([seed, attempt])
        chosen = index if attempt == 0 else int(rng.integers(len(images)))
        try:
            return read(chosen, rng), (*skipped, *images.left_out(chosen))
        except UnsamError as error:
            reason = reason_to_skip(error, "fail" if attempt == _ATTEMPTS - 1 else on_error)
            skipped.append(Skipped(images.info(chosen).file_name, reason))
    raise AssertionError("the last attempt returns or raises")


def _augmented(
    images: AnnotatedImages,
    index: int,
    rng: np.random.Generator,
    seed: int,
    settings: DataSettings,
) -> Sample:
    name, image, masks = _viewed(images, index, rng, settings)
    if rng.random() < settings.copy_paste:
        source = int(rng.integers(len(images)))
        try:
            _, other, others = _viewed(images, source, rng, settings)
        except UnsamError as error:
            reason = reason_to_skip(error, settings.on_error)
            missed = Skipped(images.info(source).file_name, reason)
            return Sample(name, image, masks, seed, (missed,))
        image, masks = paste(image, masks, other, others, rng)
        most = settings.max_masks or len(masks)
        if len(masks) > most:
            chosen = np.sort(rng.choice(len(masks), most, replace=False))
            masks = masks.take(torch.from_numpy(chosen))
        return Sample(name, image, masks, seed, images.left_out(source))
    return Sample(name, image, masks, seed)


def _viewed(
    images: AnnotatedImages, index: int, rng: np.random.Generator, settings: DataSettings
) -> tuple[str, Tensor, BitMasks]:
    found = images.read(index, rng)
    height, width, _ = found.pixels.shape
    view = draw_view(rng, (height, width), settings)
    colours = draw_colours(rng) if settings.colour and rng.random() < settings.colour else None
    image = view_image(found.pixels, view, settings.crop, colours)
    return found.file_name, image, view_masks(found.masks, view, settings.crop)
