"""From pictures to what the networks take."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unsam_cli.models.settings import LONGEST_SIDE, SHORT_SIDE

MEAN = (123.675, 116.280, 103.530)
STD = (58.395, 57.120, 57.375)
"""Of ImageNet, red, green and blue, on 0..255; all networks here were trained with them."""


def normalise(images: Tensor) -> Tensor:
    """Return pictures with mean 0 and standard deviation 1, as the networks take them.

    Parameters
    ----------
    images : (B, 3, H, W) or (3, H, W) uint8 tensor
        Red, green and blue.

    Returns
    -------
    (B, 3, H, W) or (3, H, W) float32 tensor
    """
    mean = torch.tensor(MEAN, device=images.device)[:, None, None]
    std = torch.tensor(STD, device=images.device)[:, None, None]
    return (images.float() - mean) / std


def batch_pixels(images: Sequence[Tensor], multiple: int, least: int = 1) -> Tensor:
    """Normalise pictures of different sizes and pad them to one size.

    Parameters
    ----------
    images : sequence of (3, H, W) uint8 tensors
    multiple : int
        ``Segmenter.multiple``.
    least : int
        Least height and width in pixels.

    Returns
    -------
    (B, 3, H, W) float32 tensor
        Zero outside of the pictures, which begin at the top left.
    """
    height = max(least, *(image.shape[1] for image in images))
    width = max(least, *(image.shape[2] for image in images))
    batch = torch.zeros(
        (len(images), 3, height + -height % multiple, width + -width % multiple),
        device=images[0].device,
    )
    for row, image in zip(batch, images, strict=True):
        row[:, : image.shape[1], : image.shape[2]] = normalise(image)
    return batch


def test_size(
    height: int,
    width: int,
    short: int = SHORT_SIDE,  # noqa: PT028
    longest: int = LONGEST_SIDE,  # noqa: PT028
) -> tuple[int, int]:
    """Return the height and width in pixels to which an image is resized for inference.

    The shorter side becomes `short`, unless the longer one would be more than `longest`: then
    that becomes `longest`. Halves are rounded up.
    """
    scale = short / min(height, width)
    if scale * max(height, width) > longest:
        scale = longest / max(height, width)
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))
