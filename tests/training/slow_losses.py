"""The losses of Mask2Former once more, slow and obvious: full masks, loops, own interpolation."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from unsam_cli.training.recipe import LossSettings


def interpolate(picture: Tensor, x: float, y: float) -> Tensor:
    """One value of a (h, w) picture at x, y in 0..1, bilinear, zero outside."""
    h, w = picture.shape
    px, py = x * w - 0.5, y * h - 0.5
    left, top = int(px // 1), int(py // 1)
    total = picture.new_zeros(())
    for row, column in itertools.product((top, top + 1), (left, left + 1)):
        if 0 <= row < h and 0 <= column < w:
            share = (1 - abs(px - column)) * (1 - abs(py - row))
            total = total + picture[row, column] * share
    return total


def sample(picture: Tensor, points: Tensor) -> Tensor:
    """Values of a (h, w) picture at (P, 2) points."""
    return torch.stack([interpolate(picture, x, y) for x, y in points.tolist()])


def entropy(x: Tensor, t: Tensor) -> Tensor:
    p = torch.sigmoid(x)
    return -(t * torch.log(p) + (1 - t) * torch.log(1 - p)).mean()


def dice(x: Tensor, t: Tensor) -> Tensor:
    p = torch.sigmoid(x)
    return 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)


def best_assignment(costs: Tensor) -> list[tuple[int, int]]:
    """Try all ways to give masks to different queries; masks are at most as many."""
    queries, masks = costs.shape
    ways = itertools.permutations(range(queries), masks)
    best = min(ways, key=lambda way: sum(costs[q, m].item() for m, q in enumerate(way)))
    return sorted((q, m) for m, q in enumerate(best))


def slow_losses(
    class_logits: Tensor,
    mask_logits: Tensor,
    targets: Sequence[Tensor],
    seeds: Sequence[int],
    totals: Tensor,
    settings: LossSettings,
) -> Tensor:
    """(L, 3) losses.

    class_logits (L, B, Q, 2); mask_logits (L, B, Q, h, w); targets: of every image (n, H, W) float.
    """
    result = []
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    shared = [torch.rand(1, settings.points, 2, generator=g)[0] for g in generators]
    for classes, masks in zip(class_logits, mask_logits, strict=True):
        ce, bce, dices = (classes.new_zeros(()) for _ in range(3))
        for b, wanted in enumerate(targets):
            found = [sample(m, shared[b]) for m in masks[b]]
            there = [sample(t, shared[b]) for t in wanted]
            costs = torch.tensor(
                [
                    [
                        (
                            -2 * torch.softmax(classes[b, q], 0)[0]
                            + 5 * entropy(found[q], there[n])
                            + 5 * dice(found[q], there[n])
                        ).item()
                        for n in range(len(wanted))
                    ]
                    for q in range(len(found))
                ]
            ).reshape(len(found), len(wanted))
            pairs = best_assignment(costs)
            matched = {q for q, _ in pairs}
            for q, logits in enumerate(classes[b]):
                label, weight = (0, 1.0) if q in matched else (1, settings.no_object_weight)
                ce = ce - weight * torch.log_softmax(logits, 0)[label]
            few, many = int(0.75 * settings.points), 3 * settings.points
            candidates = torch.rand(len(pairs), many, 2, generator=generators[b])
            uniform = torch.rand(len(pairs), settings.points - few, 2, generator=generators[b])
            for i, (q, n) in enumerate(pairs):
                certain = sample(masks[b, q].detach(), candidates[i]).abs()
                points = torch.cat([candidates[i][certain.argsort()[:few]], uniform[i]])
                x, t = sample(masks[b, q], points), sample(wanted[n], points)
                p = torch.sigmoid(x)
                iou = (p * t).sum() / (p + t - p * t).sum()
                if settings.drop_loss is None or iou > settings.drop_loss:
                    bce, dices = bce + entropy(x, t), dices + dice(x, t)
        result.append(torch.stack([2 * ce / totals[1], 5 * bce / totals[0], 5 * dices / totals[0]]))
    return torch.stack(result)
