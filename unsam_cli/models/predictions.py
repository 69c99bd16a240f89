"""What a whole-image segmenter says about images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Predictions:
    """Classes and masks of all queries, the masks in factors.

    The mask logits of a query are the dot product of its embedding with the features of every
    pixel: (L, B, Q, h, w) of them would not fit into memory, and hardly anything needs them all.

    Parameters
    ----------
    class_logits : (L, B, Q, 2) tensor
        Of L prediction layers, the final one last: logits of "a mask" (0) and of "nothing" (1).
        L is 1 outside of training.
    embeddings : (L, B, Q, C) tensor
        Mask embeddings.
    features : (B, C, h, w) tensor
        Features of pixels, at a quarter of the resolution of the network's input.
    """

    class_logits: Tensor
    embeddings: Tensor
    features: Tensor

    def mask_logits(self, layer: int = -1) -> Tensor:
        """Return the mask logits of a layer, (B, Q, h, w)."""
        return torch.einsum("bqc,bchw->bqhw", self.embeddings[layer], self.features)
