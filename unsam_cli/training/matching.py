"""Matching of queries and masks."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from unsam_cli.training.recipe import LossSettings


def assign(costs: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Assign one query to every mask at least total cost, or one mask to every query if fewer.

    Parameters
    ----------
    costs : (L, Q, n) float tensor
        Of L layers.

    Returns
    -------
    list of ((m,) int64 tensor, (m,) int64 tensor)
        Of every layer queries, ascending, and their masks; on the device of the costs.
    """
    # What is no number is left to the losses, which tell of it.
    values = np.nan_to_num(costs.cpu().numpy(), nan=0.0, posinf=1e9, neginf=-1e9)
    found = [linear_sum_assignment(layer) for layer in values]
    return [
        (torch.from_numpy(q).to(costs.device), torch.from_numpy(m).to(costs.device))
        for q, m in found
    ]


@torch.no_grad()
def matching_costs(
    class_logits: Tensor,
    embeddings: Tensor,
    features: Tensor,
    targets: Tensor,
    settings: LossSettings,
) -> Tensor:
    """Cost of each query against each mask of one image, per layer.

    Parameters
    ----------
    class_logits : (L, Q, 2) float tensor
    embeddings : (L, Q, C) float tensor
    features : (C, P) float tensor
        Features of pixels, at P points.
    targets : (n, P) float tensor
        Masks at these points, 0 to 1.
    settings : LossSettings
        Weights.

    Returns
    -------
    (L, Q, n) float tensor

    Notes
    -----
    With x the logit of a query at a point and t the mask, the cross entropy is softplus(x) - x t,
    so that its sums over points are products of matrices; and since x is itself the product of an
    embedding and features, those of x t need no logits.

    References
    ----------
    Cheng et al., "Mask2Former" (2022), section 3.3 and its published code.
    """
    count = features.shape[1]
    toward = features @ targets.T  # (C, n)
    areas = targets.sum(dim=1)
    costs = []
    for scores, layer in zip(class_logits.softmax(dim=-1)[..., 0], embeddings, strict=True):
        logits = layer @ features  # (Q, P)
        entropy = (functional.softplus(logits).sum(dim=1)[:, None] - layer @ toward) / count
        masks = logits.sigmoid_()
        common, size = masks @ targets.T, masks.sum(dim=1)[:, None] + areas
        dice = 1 - (2 * common + 1) / (size + 1)
        costs.append(
            settings.mask_weight * entropy
            + settings.dice_weight * dice
            - settings.class_weight * scores[:, None]
        )
    return torch.stack(costs)
