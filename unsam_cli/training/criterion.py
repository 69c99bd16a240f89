"""The losses of whole-image segmenters: classes of all queries, masks of the matched ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from unsam_cli.models.predictions import Predictions
from unsam_cli.training.bitmasks import BitMasks
from unsam_cli.training.matching import assign, matching_costs
from unsam_cli.training.points import sample_maps, uncertain_points, uniform_points
from unsam_cli.training.recipe import LossSettings

TERMS = ("class", "mask", "dice")


def count_amounts(queries: int, masks: Sequence[int], settings: LossSettings) -> Tensor:
    """Compute the divisors of the summed losses.

    Parameters
    ----------
    queries : int
        Number of queries of the network.
    masks : sequence of int
        Number of masks of each image.
    settings : LossSettings
        `no_object_weight` is used.

    Returns
    -------
    (2,) float64 tensor
        Number of masks, and total weight of the queries in the cross-entropy of classes.
    """
    matched = sum(min(n, queries) for n in masks)
    rest = settings.no_object_weight * (queries * len(masks) - matched)
    return torch.tensor([sum(masks), matched + rest], dtype=torch.float64)


def set_losses(
    predictions: Predictions,
    targets: Sequence[BitMasks],
    seeds: Sequence[int],
    totals: Tensor,
    settings: LossSettings,
) -> Tensor:
    """Match queries to masks in every layer, and compute the losses of the pairs.

    Parameters
    ----------
    predictions : Predictions
        Predictions of L layers for B images, in float32.
    targets : sequence of B BitMasks
        Masks of each image.
    seeds : sequence of B int
        Seed of each image's random points.
    totals : (2,) tensor
        Divisors of the sums, see :func:`count_amounts`; values below 1 count as 1.
    settings : LossSettings
        Weights and numbers of points.

    Returns
    -------
    (L, 3) float32 tensor
        Weighted losses `TERMS` of each layer: sums over images divided by `totals`.

    Notes
    -----
    All layers of an image are matched at the same points, so that sampled features are shared. The
    published code draws new points for each layer.

    References
    ----------
    Cheng et al., "Masked-attention Mask Transformer for Universal Image Segmentation" (2022),
    section 3 and its published code; Wang et al., "Cut and Learn" (2023), section 3.3 (DropLoss).
    """
    sums = [
        _image_losses(
            predictions.class_logits[:, image],
            predictions.embeddings[:, image],
            predictions.features[image],
            masks,
            torch.Generator(predictions.features.device).manual_seed(seed),
            settings,
        )
        for image, (masks, seed) in enumerate(zip(targets, seeds, strict=True))
    ]
    masks, classes = totals.to(predictions.features.device, torch.float32).clamp(min=1)
    weights = torch.stack(
        [
            settings.class_weight / classes,
            settings.mask_weight / masks,
            settings.dice_weight / masks,
        ]
    )
    return torch.stack(sums).sum(dim=0) * weights


def _image_losses(
    class_logits: Tensor,
    embeddings: Tensor,
    features: Tensor,
    masks: BitMasks,
    generator: torch.Generator,
    settings: LossSettings,
) -> Tensor:
    """Return the unweighted losses of one image, summed over queries, (L, 3)."""
    points = uniform_points(1, settings.points, generator)
    costs = matching_costs(
        class_logits,
        embeddings,
        sample_maps(features[None], points)[0],
        masks.at(points),
        settings,
    )
    rows = []
    for layer, (queries, which) in enumerate(assign(costs)):
        classes = _class_loss(class_logits[layer], queries, settings)
        chosen = embeddings[layer, queries]
        with torch.no_grad():
            logits = torch.einsum("nc,chw->nhw", chosen, features)
        at = uncertain_points(
            logits,
            settings.points,
            generator,
            oversample=settings.oversample,
            importance=settings.importance,
        )
        wanted = masks.take(which).at(at)
        # The backward pass recomputes the logits of all pixels: those of all layers and images
        # together would need more memory than the rest of the training.
        rows.append(
            torch.stack([classes, *_checkpointed(chosen, features, at, wanted, settings.drop_loss)])
        )
    return torch.stack(rows)


def _class_loss(logits: Tensor, queries: Tensor, settings: LossSettings) -> Tensor:
    labels = torch.ones(len(logits), dtype=torch.long, device=logits.device)
    labels[queries] = 0
    weights = logits.new_tensor([1.0, settings.no_object_weight])
    return functional.cross_entropy(logits, labels, weight=weights, reduction="sum")


def _checkpointed(*arguments: Tensor | float | None) -> tuple[Tensor, Tensor]:
    losses: tuple[Tensor, Tensor] = checkpoint(
        _mask_losses, *arguments, use_reentrant=False, preserve_rng_state=False
    )
    return losses


def _mask_losses(
    embeddings: Tensor, features: Tensor, points: Tensor, wanted: Tensor, drop: float | None
) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy (mean over points) and the dice loss, summed over n queries."""
    logits = torch.einsum("nc,chw->nhw", embeddings, features)
    at = sample_maps(logits[:, None], points)[:, 0]
    entropy = functional.binary_cross_entropy_with_logits(at, wanted, reduction="none").mean(dim=1)
    masks = at.sigmoid()
    common, size = (masks * wanted).sum(dim=1), masks.sum(dim=1) + wanted.sum(dim=1)
    dice = 1 - (2 * common + 1) / (size + 1)
    if drop is not None:
        kept = (common / (size - common)).detach() > drop
        entropy, dice = entropy * kept, dice * kept
    return entropy.sum(), dice.sum()
