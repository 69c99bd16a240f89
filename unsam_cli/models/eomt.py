"""EoMT of Hugging Face, run at any size: a plain vision transformer that sees queries."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from unsam_cli.models.pixel_decoder import Run
from unsam_cli.models.predictions import Predictions, at_least_single, class_agnostic


def predict(network: Any, pixels: Tensor, run: Run) -> Predictions:
    """Run a network as its own forward pass would, up to rounding.

    Its own takes pictures of one size only. Here position embeddings are resized to the picture's
    grid. In evaluation, masks are applied to all queries of the blocks that have
    ``attn_mask_probs`` above 0.

    Parameters
    ----------
    network : EomtForUniversalSegmentation
    pixels : (B, 3, H, W) float tensor
    run : callable
        Calls a part of the network with its arguments.

    References
    ----------
    Kerssies et al., "Your ViT is Secretly an Image Segmentation Model", CVPR 2025.
    """
    hidden, grid = _embed(network, pixels)
    outputs: list[tuple[Tensor, Tensor, Tensor]] = []
    blocks = len(network.attn_mask_probs)
    plain = network.layers[:-blocks]
    for layer in plain:
        hidden = run(layer, hidden, None)
    hidden = torch.cat((network.query.weight.expand(len(hidden), -1, -1), hidden), 1)
    for layer, share in zip(network.layers[-blocks:], network.attn_mask_probs, strict=True):
        mask = None
        if network.training or share > 0:
            output = run(_heads, network, hidden, grid)
            mask = _mask(network, output, hidden, grid, float(share))
            outputs = [*outputs, output] if network.training else []
        hidden = run(layer, hidden, mask)
    return _join([*outputs, run(_heads, network, hidden, grid)])


def anneal_masks(network: Any, share: float) -> None:
    """Set the share of queries to which masks are applied in training, in each of the last blocks.

    Of B blocks the k-th, from 0, falls from 1 to 0 between ``(k + 1) / (B + 2)`` and
    ``(k + 2) / (B + 2)`` of the training, as a polynomial of power 0.9. Afterwards no masks are
    needed, which makes inference faster.

    Parameters
    ----------
    network : EomtForUniversalSegmentation
    share : float
        Of the training that is done, 0 to 1.

    References
    ----------
    Kerssies et al., "Your ViT is Secretly an Image Segmentation Model", CVPR 2025, section 3.3
    (mask annealing); the numbers are those of its published configurations.
    """
    blocks = len(network.attn_mask_probs)
    progress = share * (blocks + 2) - 1 - torch.arange(blocks, dtype=torch.float64)
    network.attn_mask_probs.copy_((1 - progress.clamp(0, 1)) ** 0.9)


def _embed(network: Any, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Return tokens (B, prefix + h * w, C), and h and w."""
    embeddings = network.embeddings
    patches = embeddings.patch_embeddings.projection(pixels)
    height, width = patches.shape[-2:]
    places = embeddings.position_embeddings.weight.T.unflatten(1, network.grid_size)[None]
    if (height, width) != tuple(network.grid_size):
        places = functional.interpolate(
            places, (height, width), mode="bicubic", antialias=True, align_corners=False
        )
    tokens = (patches + places).flatten(2).transpose(1, 2)
    prefix = (embeddings.cls_token, embeddings.register_tokens)
    batch = len(pixels)
    return torch.cat([*(t.expand(batch, -1, -1) for t in prefix), tokens], 1), (height, width)


def _heads(network: Any, hidden: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Return class logits (B, Q, 2), embeddings (B, Q, C) and features (B, C, h, w)."""
    hidden = network.layernorm(hidden)
    queries = hidden[:, : network.config.num_queries]
    patches = torch.unflatten(hidden[:, -grid[0] * grid[1] :].transpose(1, 2), 2, grid)
    return (
        class_agnostic(network.class_predictor(queries)),
        at_least_single(network.mask_head(queries)),
        at_least_single(network.upscale_block(patches)),
    )


@torch.no_grad()
def _mask(
    network: Any,
    output: tuple[Tensor, Tensor, Tensor],
    hidden: Tensor,
    grid: tuple[int, int],
    share: float,
) -> Tensor:
    """Keep queries from patches outside of their masks, (B, 1, N, N), added to attention.

    Parameters
    ----------
    output : tuple
        What `_heads` returned.
    share : float
        Of queries for which that is done while training.
    """
    _, embeddings, features = output
    small = functional.interpolate(features, grid, mode="bilinear", align_corners=False)
    inside = embeddings @ small.flatten(2) > 0
    if network.training and share < 1:
        inside |= torch.rand(*inside.shape[:2], 1, device=inside.device) > share
    batch, tokens, _ = hidden.shape
    mask = hidden.new_zeros(batch, 1, tokens, tokens)
    corner = mask[:, 0, : inside.shape[1], -inside.shape[2] :]
    corner.masked_fill_(~inside, -torch.inf)
    return mask


def _join(outputs: list[tuple[Tensor, Tensor, Tensor]]) -> Predictions:
    """Put predictions of layers together, whose features differ: see `Predictions`."""
    count, channels = len(outputs), outputs[0][1].shape[2]
    embeddings = [
        functional.pad(e, (i * channels, (count - 1 - i) * channels))
        for i, (_, e, _) in enumerate(outputs)
    ]
    return Predictions(
        torch.stack([logits for logits, _, _ in outputs]),
        torch.stack(embeddings),
        torch.cat([features for _, _, features in outputs], 1),
    )
