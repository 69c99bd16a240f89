"""Forward pass of the Hugging Face EoMT at any size: a plain vision transformer with queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from unsam_cli.models.pixel_decoder import Run
from unsam_cli.models.predictions import Predictions, at_least_single, class_agnostic


def predict_eomt(
    network: Any, pixels: Tensor, run: Run, seeds: Sequence[int] | None = None
) -> Predictions:
    """Run an EoMT; the result equals its own forward pass up to rounding.

    The original takes images of one size only. Here, position embeddings are resized to the grid of
    the image. In evaluation, masked attention applies to all queries of the blocks whose
    ``attn_mask_probs`` are above 0.

    Parameters
    ----------
    network : EomtForUniversalSegmentation
    pixels : (B, 3, H, W) float tensor
        Normalised; H and W are multiples of the patch size.
    run : callable
        Calls a part of the network with its arguments.
    seeds : sequence of B int, optional
        Seed per image of the random numbers that are drawn in training; by default torch's global
        generator is used.

    Returns
    -------
    Predictions
        In training of all prediction layers, in evaluation of the last one.

    References
    ----------
    Kerssies et al., "Your ViT is Secretly an Image Segmentation Model", CVPR 2025.
    """
    hidden, grid = _embed(network, pixels)
    outputs: list[tuple[Tensor, Tensor, Tensor]] = []
    blocks = len(network.attn_mask_probs)
    plain = network.layers[:-blocks]
    chances = _chances(network, len(pixels), seeds) if network.training else None
    for layer in plain:
        hidden = run(layer, hidden, None)
    hidden = torch.cat((network.query.weight.expand(len(hidden), -1, -1), hidden), 1)
    for block, share in enumerate(network.attn_mask_probs.tolist()):
        mask = None
        if network.training or share > 0:
            output = run(_heads, network, hidden, grid)
            exempt = None if chances is None else chances[block] >= share
            mask = _mask(output, hidden, grid, exempt)
            outputs = [*outputs, output] if network.training else []
        hidden = run(network.layers[block - blocks], hidden, mask)
    return _join([*outputs, run(_heads, network, hidden, grid)])


def anneal_masks(network: Any, share: float) -> None:
    """Set the probability of masked attention in each of the last blocks, in place.

    In block k of B (from 0), the probability falls from 1 to 0 between ``(k + 1) / (B + 2)`` and
    ``(k + 2) / (B + 2)`` of the training, as a polynomial of power 0.9. Afterwards no masks are
    needed, which makes inference faster.

    Parameters
    ----------
    network : EomtForUniversalSegmentation
    share : float
        Fraction of the training that is done, 0 to 1.

    References
    ----------
    Kerssies et al., "Your ViT is Secretly an Image Segmentation Model", CVPR 2025, section 3.3
    (mask annealing); the numbers are those of its published configurations.
    """
    blocks = len(network.attn_mask_probs)
    progress = share * (blocks + 2) - 1 - torch.arange(blocks, dtype=torch.float64)
    network.attn_mask_probs.copy_((1 - progress.clamp(0, 1)) ** 0.9)


def _embed(network: Any, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Return tokens (B, prefix + h * w, C), and (h, w), the size of the grid of patches."""
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


def _chances(network: Any, batch: int, seeds: Sequence[int] | None) -> Tensor:
    """Draw a number from 0 to 1 per block, image and query, (blocks, B, Q)."""
    shape = len(network.attn_mask_probs), network.config.num_queries
    if seeds is None:
        drawn = torch.rand(batch, *shape)
    else:
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        drawn = torch.stack([torch.rand(*shape, generator=g) for g in generators])
    return drawn.transpose(0, 1).to(network.attn_mask_probs.device)


@torch.no_grad()
def _mask(
    output: tuple[Tensor, Tensor, Tensor],
    hidden: Tensor,
    grid: tuple[int, int],
    exempt: Tensor | None,
) -> Tensor:
    """Return what is added to attention logits, (B, 1, N, N): -inf from a query outside its mask.

    Parameters
    ----------
    output : tuple
        Result of `_heads`.
    hidden : (B, N, C) tensor
        Tokens; gives the shape, dtype and device.
    grid : (h, w)
        Size of the grid of patches.
    exempt : (B, Q) bool tensor, optional
        Queries that are not masked.
    """
    _, embeddings, features = output
    small = functional.interpolate(features, grid, mode="bilinear", align_corners=False)
    inside = embeddings @ small.flatten(2) > 0
    if exempt is not None:
        inside |= exempt[..., None]
    batch, tokens, _ = hidden.shape
    mask = hidden.new_zeros(batch, 1, tokens, tokens)
    corner = mask[:, 0, : inside.shape[1], -inside.shape[2] :]
    corner.masked_fill_(~inside, -torch.inf)
    return mask


def _join(outputs: list[tuple[Tensor, Tensor, Tensor]]) -> Predictions:
    """Join the predictions of layers that have different features, see `Predictions`."""
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
