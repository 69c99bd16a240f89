"""A whole-image segmenter: pixels in, predictions out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from unsam_cli.models.cells import STRIDES
from unsam_cli.models.condinst import predict_condinst
from unsam_cli.models.eomt import predict_eomt
from unsam_cli.models.mask2former import predict_mask2former
from unsam_cli.models.predictions import Predictions
from unsam_cli.models.settings import CONDINST, SegmenterConfig


class Segmenter(nn.Module):
    """Common interface of all architectures, with a forward pass that saves memory.

    Batch normalisation is frozen: its statistics are never updated, and its weights have no
    gradient.

    Attributes
    ----------
    network : Mask2FormerForUniversalSegmentation, EomtForUniversalSegmentation or CondInst
    config : SegmenterConfig
    multiple : int
        Height and width of the input must be multiples of it, in pixels.
    checkpointing : bool
        Recompute activations in the backward pass instead of keeping them.
    history : list of dict
        Steps that led to the weights, see `unsam_cli.run.provenance`.
    identity : str
        Identity of the weights: a hash, or a hub id with its commit. For a new segmenter, the
        identity of its backbone's weights.
    """

    def __init__(self, network: Any, config: SegmenterConfig) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self.multiple = _multiple(network, config)
        self.checkpointing = False
        self.history: list[dict[str, Any]] = []
        self.identity = ""
        for module in self.modules():
            if isinstance(module, _BatchNorm):
                module.requires_grad_(False)

    def train(self, mode: bool = True) -> Segmenter:
        """Switch to training or evaluation mode; batch normalisation stays in evaluation mode."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    def forward(self, pixels: Tensor, seeds: Sequence[int] | None = None) -> Predictions:
        """Predict masks.

        Parameters
        ----------
        pixels : (B, 3, H, W) float tensor
            Normalised, and padded with zeros to multiples of `multiple`.
        seeds : sequence of B int, optional
            Seed per image of the random numbers that EoMT draws in training; others ignore it.

        Returns
        -------
        Predictions
            In training mode of all prediction layers, of which the first sees the learnt queries
            as they are; otherwise of the last layer. CondInst has one. In float32, also under
            autocast.
        """
        assert not any(side % self.multiple for side in pixels.shape[-2:]), pixels.shape
        if self.config.architecture == "eomt":
            return predict_eomt(self.network, pixels, self._run, seeds)
        if self.config.architecture == CONDINST:
            return predict_condinst(self.network, pixels, self._run)
        return predict_mask2former(self.network, pixels, self._run)

    def _run(self, part: Any, *arguments: Any) -> Any:
        """Call a part of the network."""
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(part, *arguments, use_reentrant=False)
        return part(*arguments)


def _multiple(network: Any, config: SegmenterConfig) -> int:
    """Return the number that the sides of the input must be multiples of, in pixels."""
    if config.architecture == CONDINST:
        return max(STRIDES)
    if config.architecture == "eomt":
        return int(network.config.patch_size)
    return int(max(network.config.feature_strides))
