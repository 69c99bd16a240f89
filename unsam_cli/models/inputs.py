"""From images to the inputs of the networks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unsam_cli.models.settings import LONGEST_SIDE, SHORT_SIDE

MEAN = (123.675, 116.280, 103.530)
STD = (58.395, 57.120, 57.375)
"""Mean and standard deviation of ImageNet (R, G, B; 0 to 255), used by all networks here."""


def normalise(images: Tensor) -> Tensor:
    """Subtract the mean of ImageNet and divide by its standard deviation.

    Parameters
    ----------
    images : (B, 3, H, W) or (3, H, W) uint8 tensor
        RGB, 0 to 255.

    Returns
    -------
    (B, 3, H, W) or (3, H, W) float32 tensor
    """
    mean = torch.tensor(MEAN, device=images.device)[:, None, None]
    std = torch.tensor(STD, device=images.device)[:, None, None]
    return (images.float() - mean) / std


def batch_pixels(images: Sequence[Tensor], multiple: int, least: int = 1) -> Tensor:
    """Normalise images of different sizes and pad them to one size.

    Parameters
    ----------
    images : sequence of (3, H_i, W_i) uint8 tensors
        RGB.
    multiple : int
        H and W of the batch are multiples of it, see ``Segmenter.multiple``. In pixels.
    least : int
        Minimum height and width before they are rounded up to `multiple`, in pixels.

    Returns
    -------
    (B, 3, H, W) float32 tensor
        Images at the top left; padding, right and below, is zero.
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
    """Return the height and width, in pixels, to which an image is resized for inference.

    The shorter side becomes `short`, unless the longer side would then exceed `longest`; in that
    case the longer side becomes `longest`. Halves are rounded up.
    """
    scale = short / min(height, width)
    if scale * max(height, width) > longest:
        scale = longest / max(height, width)
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))
