"""What a whole-image segmenter says about images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Predictions:
    """Classes and masks of all queries, the masks in factors.

    The mask logits of a query are the dot product of its embedding with the features of every
    pixel: (L, B, Q, h, w) of them would not fit into memory, and few callers need all of them.

    Parameters
    ----------
    class_logits : (L, B, Q, 2) tensor
        Of L prediction layers, the final one last: logits of "a mask" (0) and of "nothing" (1).
        L is 1 outside of training.
    embeddings : (L, B, Q, C) tensor
        Mask embeddings.
    features : (B, C, h, w) tensor
        Features of pixels, at a quarter of the resolution of the network's input, of CondInst at
        half of it. Where layers
        have features of their own (EoMT in training), these are stacked along C, and the
        embeddings of a layer are 0 at those of the others.
    windows : (B, Q, 4) int64 tensor on the CPU, optional
        Outside of which no logit of a mask is positive: x0, y0, x1, y1 in pixels of the features,
        the ends exclusive. By default masks can be anywhere.
    """

    class_logits: Tensor
    embeddings: Tensor
    features: Tensor
    windows: Tensor | None = None

    def mask_logits(self, layer: int = -1) -> Tensor:
        """Return the mask logits of a layer, (B, Q, h, w)."""
        return torch.einsum("bqc,bchw->bqhw", self.embeddings[layer], self.features)


def class_agnostic(logits: Tensor) -> Tensor:
    """Join K classes to one, for networks that were trained with more.

    Parameters
    ----------
    logits : (..., K + 1) tensor
        The last one is of "nothing".

    Returns
    -------
    (..., 2) tensor, float32 at least
        Their softmax gives the sum of the probabilities of all classes, and that of "nothing".
    """
    logits = at_least_single(logits)
    if logits.shape[-1] == 2:
        return logits
    return torch.stack((logits[..., :-1].logsumexp(-1), logits[..., -1]), -1)


def at_least_single(x: Tensor) -> Tensor:
    """Turn half precision into float32; leave the rest as it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
