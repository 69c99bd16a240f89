"""Matching and losses of prompts, against what one would write first."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close

from unsam_cli.errors import UsageError
from unsam_cli.sam.promptable import MaskLogits
from unsam_cli.training.bitmasks import BitMasks
from unsam_cli.training.points import uncertain_points, uniform_points
from unsam_cli.training.prompted.losses import Pairs, at_pixels, match_answers, overlap, pair_losses
from unsam_cli.training.prompted.settings import LOSS_WEIGHTS, PromptSettings

pytestmark = pytest.mark.torch

SIDE, LOW = 32, 16


def made(seed: int, prompts: int, answers: int) -> tuple[torch.Tensor, BitMasks, Any]:
    """Make smooth random answers, and five random boxes."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.randn(prompts, answers, 5, 5, generator=draw) * 3
    logits = functional.interpolate(coarse, (LOW, LOW), mode="bilinear")
    rng = np.random.default_rng(seed)
    masks = np.zeros((5, SIDE, SIDE), dtype=bool)
    for mask in masks:
        y, x = rng.integers(0, SIDE - 10, 2)
        mask[y : y + rng.integers(5, 20), x : x + rng.integers(5, 20)] = True
    return logits, BitMasks.pack(masks, (SIDE, SIDE)), masks


def pixel_loss(logit: float, wanted: float, kind: str) -> float:
    """Write the losses of one pixel as their papers do."""
    p = 1 / (1 + math.exp(-logit))
    yes, no = -math.log(p), -math.log(1 - p)
    if kind == "focal":
        yes, no = 0.25 * (1 - p) ** 2 * yes, 0.75 * p**2 * no
    return wanted * yes + (1 - wanted) * no


def look_up(grid: torch.Tensor, points: torch.Tensor) -> list[float]:
    """Interpolate one map (h, w) at points (N, 2)."""
    places = 2 * points[None, None] - 1
    found = functional.grid_sample(grid[None, None].float(), places, align_corners=False)
    values: list[float] = found.flatten().double().tolist()
    return values


def slow_losses(answer: list[float], mask: list[float], kind: str) -> tuple[float, float]:
    """Loss of pixels and dice loss at points, both weighted."""
    n = len(answer)
    pixels = sum(pixel_loss(a, m, kind) for a, m in zip(answer, mask, strict=True)) / n
    shares = [1 / (1 + math.exp(-a)) for a in answer]
    common = sum(s * m for s, m in zip(shares, mask, strict=True))
    dice = 1 - (2 * common + 1) / (sum(shares) + sum(mask) + 1)
    mask_weight, dice_weight = LOSS_WEIGHTS[kind]
    return mask_weight * pixels, dice_weight * dice


@pytest.mark.parametrize("kind", ["bce", "focal"])
@pytest.mark.parametrize("seed", range(3))
def test_matching_is_the_best_of_all_ways_within_a_click(kind: Any, seed: int) -> None:
    settings = PromptSettings(points=40, mask_loss=kind)
    logits, bits, masks = made(seed, prompts=3, answers=4)
    targets = torch.tensor([[0, 3, 2, -1], [4, -1, -1, -1], [1, 2, 3, 4]])
    found = MaskLogits(logits, logits[..., 0, 0])
    pairs = match_answers(found, bits, targets, torch.Generator().manual_seed(9), settings)
    points = uniform_points(1, 40, torch.Generator().manual_seed(9))[0]
    wanted = [look_up(torch.from_numpy(mask), points) for mask in masks]
    matched = set(zip(*(t.tolist() for t in (pairs.prompt, pairs.answer, pairs.mask)), strict=True))
    assert len(matched) == len(pairs.prompt) == 8
    for prompt, row in enumerate(targets.tolist()):
        right = [t for t in row if t >= 0]
        answers = [look_up(logits[prompt, m], points) for m in range(4)]
        cost = {
            (m, t): sum(slow_losses(answers[m], wanted[t], kind)) for m in range(4) for t in right
        }
        least = min(
            sum(cost[m, t] for m, t in zip(order, right, strict=True))
            for order in itertools.permutations(range(4), len(right))
        )
        mine = [(m, t) for p, m, t in matched if p == prompt]
        assert sorted(t for _, t in mine) == sorted(right)
        assert sum(cost[pair] for pair in mine) == pytest.approx(least, rel=1e-4)


@pytest.mark.parametrize("kind", ["bce", "focal"])
def test_losses_are_those_one_would_write_first(kind: Any) -> None:
    settings = PromptSettings(points=40, mask_loss=kind)
    logits, bits, masks = made(5, prompts=2, answers=3)
    scores = torch.tensor([[0.2, 0.9, 0.4], [0.5, 0.1, 0.3]])
    pairs = Pairs(torch.tensor([0, 0, 1]), torch.tensor([2, 0, 1]), torch.tensor([4, 1, 1]))
    found = MaskLogits(logits, scores)
    losses = pair_losses(found, bits, pairs, torch.Generator().manual_seed(3), settings)
    chosen = logits[pairs.prompt, pairs.answer]
    points = uncertain_points(chosen, 40, torch.Generator().manual_seed(3))
    expected = [0.0, 0.0, 0.0]
    for row, (p, m, t) in enumerate([(0, 2, 4), (0, 0, 1), (1, 1, 1)]):
        answer = look_up(logits[p, m], points[row])
        wanted = look_up(torch.from_numpy(masks[t]), points[row])
        pixels, dice = slow_losses(answer, wanted, kind)
        # The centre of a pixel of an answer is the corner of four of the mask's.
        small = masks[t].reshape(LOW, 2, LOW, 2).mean((1, 3)) >= 0.5
        inside = logits[p, m].numpy() > 0
        iou = (inside & small).sum() / (inside | small).sum()
        expected[0] += pixels
        expected[1] += dice
        expected[2] += (float(scores[p, m]) - iou) ** 2
    assert losses.tolist() == pytest.approx(expected, rel=1e-4)


def test_only_matched_answers_learn_and_scores_do_not_move_masks() -> None:
    settings = PromptSettings(points=40)
    logits, bits, _ = made(1, prompts=2, answers=3)
    logits, scores = logits.requires_grad_(), torch.rand(2, 3).requires_grad_()
    found, targets = MaskLogits(logits, scores), torch.tensor([[0, 2], [1, -1]])
    pairs = match_answers(found, bits, targets, torch.Generator(), settings)
    mask, dice, iou = pair_losses(found, bits, pairs, torch.Generator(), settings)
    matched = torch.zeros(2, 3, dtype=torch.bool)
    matched[pairs.prompt, pairs.answer] = True
    assert int(matched.sum()) == 3
    (grad,) = torch.autograd.grad(mask + dice, logits, retain_graph=True)
    assert torch.equal(grad.abs().sum((2, 3)) > 0, matched)
    (grad,) = torch.autograd.grad(iou, scores, retain_graph=True)
    assert torch.equal(grad != 0, matched)
    (grad,) = torch.autograd.grad(iou, logits)
    assert not grad.any()


def test_boxes_cost_and_learn_in_every_layer() -> None:
    settings = PromptSettings(points=40)
    logits, bits, masks = made(2, prompts=2, answers=3)
    boxes = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(1)) * 0.4 + 0.3
    scores, pair = torch.rand(2, 3), Pairs(*torch.tensor([[0], [1], [2]]))
    layer = MaskLogits(logits, scores, boxes)
    losses = pair_losses(layer, bits, pair, torch.Generator().manual_seed(3), settings)
    rows, columns = np.nonzero(masks[2])
    height, width = masks[2].shape
    x0, x1 = columns.min() / width, (columns.max() + 1) / width
    y0, y1 = rows.min() / height, (rows.max() + 1) / height
    x, y, w, h = boxes[0, 1].tolist()
    wanted = np.array([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0])
    assert float(losses[3]) == pytest.approx(5 * np.abs(wanted - (x, y, w, h)).sum(), rel=1e-5)
    wide = max(0, min(x + w / 2, x1) - max(x - w / 2, x0))
    high = max(0, min(y + h / 2, y1) - max(y - h / 2, y0))
    union = w * h + (x1 - x0) * (y1 - y0) - wide * high
    hull = (max(x + w / 2, x1) - min(x - w / 2, x0)) * (max(y + h / 2, y1) - min(y - h / 2, y0))
    giou = wide * high / union - (hull - union) / hull
    assert float(losses[4]) == pytest.approx(2 * (1 - giou), rel=1e-4)
    dice = 1 - float(losses[1]) / LOSS_WEIGHTS["bce"][1]
    assert float(losses[2]) == pytest.approx((float(scores[0, 1]) - dice) ** 2, rel=1e-4)
    deep = MaskLogits(logits, scores, boxes, (layer, layer))
    every = pair_losses(deep, bits, pair, torch.Generator().manual_seed(3), settings)
    assert every[3:].tolist() == pytest.approx((3 * losses[3:]).tolist())


def test_of_equal_masks_the_answer_with_the_right_box_is_matched() -> None:
    logits, bits, _ = made(2, prompts=1, answers=1)
    right = bits.boxes()[3]
    boxes = torch.stack([right * 0.5, right, right.flip(0)])[None]
    found = MaskLogits(logits.expand(-1, 3, -1, -1), torch.zeros(1, 3), boxes)
    pairs = match_answers(
        found, bits, torch.tensor([[3]]), torch.Generator(), PromptSettings(points=40)
    )
    assert pairs.answer.tolist() == [1]


def test_masks_at_the_pixels_of_answers() -> None:
    _, bits, masks = made(2, prompts=1, answers=1)
    small = masks.reshape(5, LOW, 2, LOW, 2).mean((2, 4)) >= 0.5
    which = torch.tensor([3, 0, 3])
    assert np.array_equal(at_pixels(bits, which, (LOW, LOW)).numpy(), small[which.numpy()])
    logits = torch.from_numpy(small[[3, 0, 1]]).float() - 0.5
    assert_close(overlap(logits, bits, torch.tensor([3, 0, 1])), torch.ones(3))


def test_settings_that_cannot_be() -> None:
    for wrong in ({"clicks": 0}, {"boxes": 1.5}, {"corrections": -1}, {"mask_loss": "l1"}):
        with pytest.raises(UsageError):
            PromptSettings(**wrong)
