"""Objects of one image pasted into another."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from unsam_cli.training.bitmasks import BitMasks

_MOST_OBJECTS = 5
_LARGEST = 0.5  # fraction of the view: masks of whole scenes would hide everything else


def paste(
    image: Tensor,
    masks: BitMasks,
    source: Tensor,
    source_masks: BitMasks,
    rng: np.random.Generator,
) -> tuple[Tensor, BitMasks]:
    """Paste some objects of one view into another, with all of their parts.

    Parameters
    ----------
    image, source : (3, S, S) uint8 tensors
        Views to paste into, and from.
    masks, source_masks : BitMasks
        Masks of both views.
    rng : numpy.random.Generator
        Chooses how many masks are pasted, and which.

    Returns
    -------
    image : (3, S, S) uint8 tensor
        The view with the pasted objects.
    masks : BitMasks
        Visible parts of the view's masks, without those that are hidden completely, then all masks
        of the source that lie inside the pasted region.

    References
    ----------
    Ghiasi et al., "Simple Copy-Paste is a Strong Data Augmentation Method for Instance
    Segmentation" (2021), section 3.
    """
    objects = np.flatnonzero(source_masks.areas().numpy() <= _LARGEST * image[0].numel())
    if not len(objects):
        return image, masks
    count = int(rng.integers(1, min(_MOST_OBJECTS, len(objects)) + 1))
    chosen = rng.choice(objects, count, replace=False)
    pasted = np.bitwise_or.reduce(source_masks.bits[torch.from_numpy(chosen)].numpy(), axis=0)
    alpha = BitMasks(torch.from_numpy(pasted)[None], masks.height)
    outside = BitMasks(source_masks.bits & ~alpha.bits, masks.height).present()
    behind = BitMasks(masks.bits & ~alpha.bits, masks.height)
    parts = [behind.take(behind.present()).bits, source_masks.take(~outside).bits]
    return (
        torch.where(alpha.unpack(), source, image),
        BitMasks(torch.cat(parts), masks.height),
    )
