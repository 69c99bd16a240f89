"""New outputs of a mask decoder: tokens, and the networks that turn them into masks and scores."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


class MaskTokens(nn.Module):
    """Additional mask tokens, initialised as copies of SAM's own tokens plus noise.

    Parameters
    ----------
    decoder : SamMaskDecoder or Sam2MaskDecoder
        Decoder whose tokens, hypernetworks and score outputs are copied.
    sources : sequence of int
        For each new token, the index of SAM's mask token that is copied.
    generator : torch.Generator
        Draws the noise, a tenth of the tokens' standard deviation, that makes copies differ.
    """

    def __init__(self, decoder: Any, sources: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        old = decoder.mask_tokens.weight.detach()[list(sources)]
        noise = torch.randn(old.shape, generator=generator) * float(old.std())
        self.tokens = nn.Parameter(old.clone() + 0.1 * noise.to(old))
        self.hypernetworks = nn.ModuleList(
            copy.deepcopy(decoder.output_hypernetworks_mlps[source]) for source in sources
        )
        last = decoder.iou_prediction_head.proj_out
        self.scores = nn.Linear(last.in_features, len(sources))
        with torch.no_grad():
            self.scores.weight.copy_(last.weight[list(sources)])
            self.scores.bias.copy_(last.bias[list(sources)])

    def __len__(self) -> int:
        return len(self.tokens)
