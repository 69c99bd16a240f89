"""Matching of queries to masks."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from unsam_cli.training.recipe import LossSettings


def assign(costs: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Assign queries to masks one to one at the minimum total cost.

    Parameters
    ----------
    costs : (L, Q, n) float tensor
        Costs of Q queries against n masks in L layers.

    Returns
    -------
    list of L ((m,) int64 tensor, (m,) int64 tensor)
        Indices of queries, ascending, and of their masks, m = min(Q, n), on the device of `costs`.
    """
    # Values that are not finite also make the losses so, which are checked later.
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
    """Compute the cost of each query against each mask of one image, in every layer.

    Parameters
    ----------
    class_logits : (L, Q, 2) float tensor
        Logits of "a mask" and "no mask".
    embeddings : (L, Q, C) float tensor
        Mask embeddings.
    features : (C, P) float tensor
        Pixel features at P points.
    targets : (n, P) float tensor
        Masks at these points, 0 to 1.
    settings : LossSettings
        Weights.

    Returns
    -------
    (L, Q, n) float tensor
        Weighted sum of the cross-entropy (mean over points) and the dice loss, minus the weighted
        probability of "a mask".

    Notes
    -----
    With x the logit of a query at a point and t the mask, the cross-entropy is softplus(x) - x t.
    Its sums over points are therefore matrix products. Since x is the product of an embedding and
    the features, the sums of x t do not need the logits.

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
