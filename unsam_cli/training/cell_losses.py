"""The losses of CondInst: scores of all cells, masks of the cells that are assigned one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from unsam_cli.models.condinst import STRIDE
from unsam_cli.models.predictions import Predictions
from unsam_cli.training.bitmasks import BitMasks
from unsam_cli.training.cell_targets import NOBODY, Geometry, assign_cells, points_around
from unsam_cli.training.recipe import LossSettings

_LEAST = 12.0  # pixels; smaller masks, such as remains at the border of a crop, are ignored
_MOST_CELLS = 256  # cells per image that learn a mask in a step
_SIDE = 28  # rows and columns of the features at which a cell and its mask are compared


def cell_losses(
    predictions: Predictions,
    targets: Sequence[BitMasks],
    seeds: Sequence[int],
    totals: Tensor,
    settings: LossSettings,
) -> Tensor:
    """Compute the losses of cells with respect to their assigned masks.

    Parameters
    ----------
    predictions : Predictions
        Predictions of all cells for B images, in float32.
    targets : sequence of B BitMasks
        Masks of each image; if two are assigned to one cell, the first is used.
    seeds : sequence of B int
        Seed of each image's random numbers.
    totals : (1,) tensor
        Number of masks, by which sums are divided; values below 1 count as 1.
    settings : LossSettings
        Weights.

    Returns
    -------
    (1, 3) float32 tensor
        Weighted losses of scores, of pixels (cross-entropy), and dice. In the last two every mask
        has the same weight, which its cells share.

    References
    ----------
    Li et al., "Generalized Focal Loss", NeurIPS 2020 (the score is learnt to be the IoU of the
    cell's mask, and 0 elsewhere); Tian et al., "FCOS", ICCV 2019 (cells near the middle, in the
    range of its size).
    """
    sums = [
        _image_losses(
            predictions.class_logits[-1, i],
            predictions.embeddings[-1, i],
            predictions.features[i],
            masks,
            np.random.default_rng(seed),
        )
        for i, (masks, seed) in enumerate(zip(targets, seeds, strict=True))
    ]
    weights = [settings.class_weight, settings.mask_weight, settings.dice_weight]
    total = totals[0].to(predictions.features.device, torch.float32).clamp(min=1)
    joined = torch.stack(sums).sum(0, keepdim=True)
    return joined * joined.new_tensor(weights) / total


def _image_losses(
    class_logits: Tensor,
    embeddings: Tensor,
    features: Tensor,
    masks: BitMasks,
    rng: np.random.Generator,
) -> Tensor:
    """Return the unweighted losses of one image, summed, (3,)."""
    scores = class_logits[:, 0] - class_logits[:, 1]
    quality, counts = torch.zeros_like(scores), torch.ones_like(scores)
    geometry = Geometry.of(masks)
    large = (geometry.areas >= _LEAST).nonzero()[:, 0]
    masks, geometry = masks.take(large), geometry.take(large)
    answers = assign_cells(geometry, masks.size, rng).to(features.device)
    cells = (answers != NOBODY).nonzero()[:, 0]
    if not len(cells):
        nothing = 0 * (features.sum() + embeddings.sum())
        return torch.stack((_score_loss(scores, quality, counts), nothing, nothing))
    if len(cells) > _MOST_CELLS:
        counts[cells] = 0  # the quality of the cells that are not drawn is unknown
        cells = cells[torch.from_numpy(rng.permutation(len(cells))[:_MOST_CELLS]).to(cells.device)]
        counts[cells] = 1
    which = answers[cells]
    share = 1 / which.bincount(minlength=len(masks))[which]
    entropy, dice, quality[cells] = _mask_losses(
        embeddings[cells], features, which, masks, geometry.boxes, rng
    )
    score = _score_loss(scores, quality, counts)
    return torch.stack((score, (entropy * share).sum(), (dice * share).sum()))


def _score_loss(scores: Tensor, quality: Tensor, counts: Tensor) -> Tensor:
    """Return the quality focal loss: cross-entropy times the squared error of the score."""
    entropy = functional.binary_cross_entropy_with_logits(scores, quality, reduction="none")
    wrong = (scores.sigmoid() - quality).detach()
    return (entropy * wrong**2 * counts).sum()


def _mask_losses(
    embeddings: Tensor,
    features: Tensor,
    which: Tensor,
    masks: BitMasks,
    boxes: Tensor,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the cross-entropy, dice loss and IoU of n cells and their masks, each (n,).

    All three are measured around the mask; the dice loss also counts predictions elsewhere.
    """
    h, w = features.shape[1:]
    rows, columns, counted, shares = points_around(boxes, (h, w), STRIDE, rng, _SIDE)
    index = (rows[:, :, None] * w + columns[:, None, :]).flatten(1)
    points = torch.stack(((index % w + 0.5) / w, (index // w + 0.5) / h), -1)
    counts = counted.flatten(1).float()
    wanted = (masks.at(points) * counts)[which]
    index, counts = index[which], counts[which]
    everywhere = embeddings @ features.flatten(1)
    logits = everywhere.gather(1, index)
    found = logits.sigmoid() * counts
    near = found.sum(1)
    far = (everywhere.sigmoid().sum(1) / shares[which] - near).clamp(min=0)
    common, sizes = (found * wanted).sum(1), near + far + wanted.sum(1)
    dice = 1 - (2 * common + 1) / (sizes + 1)
    entropy = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    entropy = (entropy * counts).sum(1) / counts.sum(1)
    with torch.no_grad():
        inside, there = (logits > 0) & (counts > 0), wanted >= 0.5
        iou = (inside & there).sum(1) / (inside | there).sum(1).clamp(min=1)
    return entropy, dice, iou
