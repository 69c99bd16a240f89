"""Losses of promptable segmenters: several answers per click, and several correct masks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import generalized_box_iou_loss

from unsam_cli.sam.promptable import MaskLogits
from unsam_cli.training.bitmasks import BitMasks
from unsam_cli.training.matching import assign
from unsam_cli.training.points import sample_maps, uncertain_points, uniform_points
from unsam_cli.training.prompted.settings import LOSS_WEIGHTS, PromptSettings

TERMS = ("mask", "dice", "iou")
BOX_TERMS = ("box", "giou")
"""Further losses of a network that predicts boxes."""
_BOX_WEIGHTS = (5.0, 2.0)
_ALPHA, _GAMMA = 0.25, 2.0  # parameters of the focal loss, as in SAM


@dataclass(frozen=True)
class Pairs:
    """Q pairs of an answer and the mask that it is compared with.

    Attributes
    ----------
    prompt, answer, mask : (Q,) int64 tensors
        Index of the prompt, of the answer among those to the prompt, and of the mask in the image.
    """

    prompt: Tensor
    answer: Tensor
    mask: Tensor


@torch.no_grad()
def match_answers(
    found: MaskLogits,
    masks: BitMasks,
    targets: Tensor,
    generator: torch.Generator,
    settings: PromptSettings,
) -> Pairs:
    """Assign an answer to every target of each prompt, at the minimum total cost.

    Parameters
    ----------
    found : MaskLogits
        M answers to each of P prompts, in float32. If they have boxes, these cost, too.
    masks : BitMasks
        All masks of the image.
    targets : (P, K) int64 tensor
        Indices of the target masks of each prompt, padded with -1. K is at most M.
    generator : torch.Generator
        Draws the points at which costs are computed.
    settings : PromptSettings
        `points` and `mask_loss` are used.

    Returns
    -------
    Pairs
        One pair per target, by prompt.

    References
    ----------
    X. Wang et al., "Segment Anything without Supervision" (2024). There, the assignment of all
    clicks is block diagonal, so it is computed here for each click.
    """
    P, M = found.scores.shape
    points = uniform_points(1, settings.points, generator)
    shares = sample_maps(found.logits.flatten(0, 1)[None], points)[0].reshape(P, M, -1)
    right = masks.take(targets.clamp(min=0).flatten())
    costs = _costs(shares, right.at(points).reshape(*targets.shape, -1), settings)
    if found.boxes is not None:
        boxes = right.boxes().reshape(P, 1, -1, 4).expand(-1, M, -1, -1)
        costs += _box_losses(found.boxes[:, :, None].expand_as(boxes), boxes).sum(dim=-1)
    # Padding costs the same for every answer, so it takes the remaining ones.
    costs = costs.masked_fill((targets < 0)[:, None], 0.0)
    rows = []
    for prompt, (answers, which) in enumerate(assign(costs)):
        mask = targets[prompt, which]
        real = mask >= 0
        rows.append(torch.stack([torch.full_like(mask, prompt), answers, mask])[:, real])
    return Pairs(*torch.cat(rows, dim=1))


def pair_losses(
    found: MaskLogits,
    masks: BitMasks,
    pairs: Pairs,
    generator: torch.Generator,
    settings: PromptSettings,
) -> Tensor:
    """Compute the weighted losses of pairs.

    Parameters
    ----------
    found : MaskLogits
        Answers, in float32. Answers in no pair get no gradient.
    masks : BitMasks
        All masks of the image.
    pairs : Pairs
        Answers and masks to compare.
    generator : torch.Generator
        Draws the points at which masks are compared, most of them where the answer is uncertain.
    settings : PromptSettings
        `points` and `mask_loss` are used.

    Returns
    -------
    (3,) or (5,) float32 tensor
        Losses `TERMS`, summed over pairs. The last one is the squared error of the predicted IoU.
        With boxes, also `BOX_TERMS`; all are summed over the last layer and the earlier ones, and
        the score learns the dice coefficient, whose gradient reaches the mask.

    References
    ----------
    Kirillov et al., "Segment Anything" (2023), appendix A: scores learn the IoU of the answers.
    Li et al., "Semantic-SAM" (2024): the losses with boxes. The pairs of the last layer are those
    of all layers.
    """
    losses = _layer_losses(found, masks, pairs, generator, settings)
    for layer in found.earlier:
        losses = losses + _layer_losses(layer, masks, pairs, generator, settings)
    return losses


def _layer_losses(
    found: MaskLogits,
    masks: BitMasks,
    pairs: Pairs,
    generator: torch.Generator,
    settings: PromptSettings,
) -> Tensor:
    logits = found.logits[pairs.prompt, pairs.answer]
    points = uncertain_points(logits.detach(), settings.points, generator)
    wanted = masks.take(pairs.mask).at(points)
    at = sample_maps(logits[:, None], points)[:, 0]
    pixels = _pixel_loss(at, wanted, settings).mean(dim=1)
    shares = at.sigmoid()
    common, size = (shares * wanted).sum(dim=1), shares.sum(dim=1) + wanted.sum(dim=1)
    dice = 1 - (2 * common + 1) / (size + 1)
    right = overlap(logits, masks, pairs.mask) if found.boxes is None else 1 - dice
    error = found.scores[pairs.prompt, pairs.answer] - right
    mask_weight, dice_weight = LOSS_WEIGHTS[settings.mask_loss]
    losses = [mask_weight * pixels.sum(), dice_weight * dice.sum(), error.square().sum()]
    if found.boxes is not None:
        boxes = found.boxes[pairs.prompt, pairs.answer]
        losses += _box_losses(boxes, masks.take(pairs.mask).boxes()).sum(dim=0)
    return torch.stack(losses)


def _box_losses(boxes: Tensor, wanted: Tensor) -> Tensor:
    """Return the weighted losses `BOX_TERMS` (..., 2) of boxes (..., 4): L1 and 1 - GIoU."""

    def corners(box: Tensor) -> Tensor:
        centre, side = box[..., :2], box[..., 2:]
        return torch.cat([centre - side / 2, centre + side / 2], dim=-1)

    far = (boxes - wanted).abs().sum(dim=-1)
    apart = generalized_box_iou_loss(corners(boxes), corners(wanted))
    return torch.stack([_BOX_WEIGHTS[0] * far, _BOX_WEIGHTS[1] * apart], dim=-1)


@torch.no_grad()
def overlap(logits: Tensor, masks: BitMasks, which: Tensor) -> Tensor:
    """Compute the IoU of answers and masks at the pixels of the answers.

    `logits` are (Q, h, w), thresholded at zero; `which` are (Q,) int64, indices into `masks`.
    Returns (Q,) float32, 0 to 1.
    """
    inside, wanted = logits > 0, at_pixels(masks, which, logits.shape[-2:])
    common, either = (inside & wanted).sum((1, 2)), (inside | wanted).sum((1, 2))
    return common / either.clamp(min=1)


def at_pixels(masks: BitMasks, which: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
    """Sample masks at the centres of h x w pixels.

    `which` are (Q,) int64, indices into `masks`; `size` is (h, w). Returns (Q, h, w) bool.
    """
    distinct, back = torch.unique(which, return_inverse=True)
    y, x = ((torch.arange(n, device=which.device) + 0.5) / n for n in size)
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).reshape(1, -1, 2)
    found = masks.take(distinct).at(grid) >= 0.5
    return found[back].reshape(len(which), *size)


def _costs(found: Tensor, wanted: Tensor, settings: PromptSettings) -> Tensor:
    """Compute costs (P, M, K) of each answer (P, M, N points) against each mask (P, K, N)."""
    count = found.shape[-1]
    yes = _pixel_loss(found, torch.ones_like(found), settings)
    no = _pixel_loss(found, torch.zeros_like(found), settings)
    # Both losses are linear in the mask: a sum over points is a product of matrices.
    pixels = (no.sum(dim=2)[..., None] + (yes - no) @ wanted.mT) / count
    shares = found.sigmoid()
    size = shares.sum(dim=2)[..., None] + wanted.sum(dim=2)[:, None]
    dice = 1 - (2 * shares @ wanted.mT + 1) / (size + 1)
    mask_weight, dice_weight = LOSS_WEIGHTS[settings.mask_loss]
    return mask_weight * pixels + dice_weight * dice


def _pixel_loss(logits: Tensor, wanted: Tensor, settings: PromptSettings) -> Tensor:
    """Return the loss of logits at each point; it is linear in the mask `wanted` (0 to 1)."""
    if settings.mask_loss == "bce":
        return functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    share = logits.sigmoid()
    yes = _ALPHA * (1 - share) ** _GAMMA * functional.softplus(-logits)
    no = (1 - _ALPHA) * share**_GAMMA * functional.softplus(logits)
    return wanted * yes + (1 - wanted) * no
