"""The output of a whole-image segmenter."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Predictions:
    """Classes and masks of all queries, the masks as factors.

    The mask logits of a query are the dot products of its embedding with the features of every
    pixel. All of them, (L, B, Q, h, w), would not fit into memory, and few callers need them all.

    Parameters
    ----------
    class_logits : (L, B, Q, 2) float32 tensor
        Logits of "a mask" (0) and "no mask" (1) in each of L prediction layers, the final layer
        last. L is 1 outside of training, and for CondInst.
    embeddings : (L, B, Q, C) float32 tensor
        Mask embeddings.
    features : (B, C, h, w) float32 tensor
        Pixel features at a quarter of the resolution of the network's input, or at half of it for
        CondInst. Where layers have different features (EoMT in training), these are stacked along
        C, and the embeddings of a layer are 0 at the features of the other layers.
    windows : (B, Q, 4) int64 tensor on the CPU, optional
        Boxes outside of which no mask logit is positive: x0, y0, x1, y1 in pixels of the features;
        x1 and y1 are exclusive. By default, masks can be anywhere.
    """

    class_logits: Tensor
    embeddings: Tensor
    features: Tensor
    windows: Tensor | None = None

    def mask_logits(self, layer: int = -1) -> Tensor:
        """Return the mask logits of a layer, (B, Q, h, w) float32."""
        return torch.einsum("bqc,bchw->bqhw", self.embeddings[layer], self.features)


def class_agnostic(logits: Tensor) -> Tensor:
    """Merge K classes into one, for networks that were trained with several classes.

    Parameters
    ----------
    logits : (..., K + 1) float tensor
        Class logits; the last one is "no mask".

    Returns
    -------
    (..., 2) float tensor, at least float32
        Logits whose softmax is the total probability of the K classes, and that of "no mask".
    """
    logits = at_least_single(logits)
    if logits.shape[-1] == 2:
        return logits
    return torch.stack((logits[..., :-1].logsumexp(-1), logits[..., -1]), -1)


def at_least_single(x: Tensor) -> Tensor:
    """Convert float16 and bfloat16 to float32; return other dtypes unchanged."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
