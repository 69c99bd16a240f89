"""Forward pass of the Hugging Face Mask2Former that needs less memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unsam_cli.models.pixel_decoder import Run, decode_pixels
from unsam_cli.models.predictions import Predictions, at_least_single, class_agnostic
from unsam_cli.models.query_decoder import decode_queries


def predict_mask2former(network: Any, pixels: Tensor, run: Run) -> Predictions:
    """Run a Mask2Former; the result equals its own forward pass up to rounding.

    Parameters
    ----------
    network : Mask2FormerForUniversalSegmentation
    pixels : (B, 3, H, W) float tensor
        Normalised; H and W are multiples of the coarsest stride, 32.
    run : callable
        Calls a part of the network with its arguments.

    Returns
    -------
    Predictions
        In training of all prediction layers, in evaluation of the last one.
    """
    module = network.model.pixel_level_module
    # Convolutions take two thirds of the time with channels last.
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    maps = [at_least_single(x) for x in run(lambda x: module.encoder(x).feature_maps, pixels)]
    # As in the original, sampling and group normalisation stay in single precision.
    with torch.autocast(pixels.device.type, enabled=False):
        features, levels = decode_pixels(module.decoder, maps, run)
    features = features.contiguous()
    outputs = decode_queries(network.model.transformer_module, levels, features, run)
    return Predictions(
        torch.stack([class_agnostic(network.class_predictor(q)) for q, _ in outputs]),
        torch.stack([at_least_single(embeddings) for _, embeddings in outputs]),
        features,
    )
