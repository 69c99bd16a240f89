from __future__ import annotations

import importlib.util
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from unsam_cli.models.predictions import Predictions
from unsam_cli.training.bitmasks import BitMasks
from unsam_cli.training.criterion import count_amounts, set_losses
from unsam_cli.training.matching import assign
from unsam_cli.training.points import sample_maps, uncertain_points
from unsam_cli.training.recipe import LossSettings

pytestmark = pytest.mark.torch

_spec = importlib.util.spec_from_file_location(
    "slow_losses", Path(__file__).with_name("slow_losses.py")
)
assert _spec is not None
assert _spec.loader is not None
slow = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(slow)

SIZE = (21, 30)  # neither is a multiple of 8


def random_masks(seed: int, n: int, size: tuple[int, int] = SIZE) -> torch.Tensor:
    """Draw ellipses, (n, H, W) bool, some of which leave the picture."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    masks = [
        ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1
        for cx, cy, rx, ry in zip(
            rng.integers(0, size[1], n),
            rng.integers(0, size[0], n),
            rng.integers(3, 15, n),
            rng.integers(3, 12, n),
            strict=True,
        )
    ]
    return torch.from_numpy(np.array(masks, dtype=bool).reshape(n, *size))


def packed(masks: torch.Tensor) -> BitMasks:
    return BitMasks.pack(list(masks.numpy()), (masks.shape[1], masks.shape[2]))


def random_predictions(
    seed: int, layers: int = 2, images: int = 2, queries: int = 5, channels: int = 4
) -> Predictions:
    g = torch.Generator().manual_seed(seed)
    shape = (layers, images, queries)
    return Predictions(
        torch.randn(*shape, 2, generator=g).requires_grad_(),
        torch.randn(*shape, channels, generator=g).requires_grad_(),
        torch.randn(images, channels, 6, 8, generator=g).requires_grad_(),
    )


def gradients(losses: torch.Tensor, predictions: Predictions) -> list[torch.Tensor]:
    leaves = [predictions.class_logits, predictions.embeddings, predictions.features]
    # Different weights, so that no two gradients can take each other's place.
    weights = torch.arange(1.0, 1 + losses.numel()).reshape(losses.shape)
    return list(torch.autograd.grad((losses * weights).sum(), leaves))


@pytest.mark.parametrize("counts", [(3, 2), (4, 0), (1, 5)])
@pytest.mark.parametrize("drop", [None, 0.12])
def test_losses_and_gradients_are_those_of_the_slow_way(
    counts: tuple[int, int], drop: float | None
) -> None:
    settings = LossSettings(points=40, drop_loss=drop)
    predictions = random_predictions(sum(counts))
    targets = [random_masks(i, n) for i, n in enumerate(counts)]
    totals, seeds = torch.tensor([7.0, 3.5]), [11, 12]
    fast = set_losses(predictions, [packed(t) for t in targets], seeds, totals, settings)
    masks = torch.stack([predictions.mask_logits(layer) for layer in range(2)])
    expected = slow.slow_losses(
        predictions.class_logits, masks, [t.float() for t in targets], seeds, totals, settings
    )
    torch.testing.assert_close(fast, expected, rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(
        gradients(fast, predictions), gradients(expected, predictions), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_drop_loss_is_seen_in_the_case_above() -> None:
    targets = [packed(random_masks(i, n)) for i, n in enumerate((3, 2))]
    plain, dropped = (
        set_losses(
            random_predictions(5),
            targets,
            [11, 12],
            torch.ones(2),
            LossSettings(points=40, drop_loss=drop),
        )
        for drop in (None, 0.12)
    )
    assert torch.equal(plain[:, 0], dropped[:, 0])
    assert 0 < dropped[:, 1:].sum() < plain[:, 1:].sum()


def test_losses_of_parts_add_up_whatever_the_batches() -> None:
    settings = LossSettings(points=64)
    predictions = random_predictions(3, images=3)
    targets = [packed(random_masks(i, n)) for i, n in enumerate((3, 0, 4))]
    seeds = [5, 6, 7]
    amounts = count_amounts(5, [3, 0, 4], settings)
    together = set_losses(predictions, targets, seeds, amounts, settings)
    alone = [
        set_losses(
            Predictions(
                predictions.class_logits[:, i : i + 1],
                predictions.embeddings[:, i : i + 1],
                predictions.features[i : i + 1],
            ),
            targets[i : i + 1],
            seeds[i : i + 1],
            amounts,
            settings,
        )
        for i in range(3)
    ]
    torch.testing.assert_close(together, torch.stack(alone).sum(0))


def test_amounts_count_masks_and_weights() -> None:
    amounts = count_amounts(10, [3, 0, 12], LossSettings())
    assert amounts.tolist() == [15, pytest.approx(3 + 0.7 + 1.0 + 10)]


def test_the_cross_entropy_is_the_weighted_mean_of_torch() -> None:
    predictions = random_predictions(1, layers=1, images=1)
    targets = [packed(random_masks(0, 2))]
    settings = LossSettings(points=50)
    totals = count_amounts(5, [2], settings)
    losses = set_losses(predictions, targets, [3], totals, settings)
    logits = predictions.class_logits[0, 0]
    means = [
        functional.cross_entropy(logits, labels, weight=torch.tensor([1.0, 0.1]))
        for labels in (torch.tensor([int(q not in pair) for q in range(5)]) for pair in pairs(5))
    ]
    assert any(torch.isclose(losses[0, 0], 2 * mean) for mean in means)


def pairs(n: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(n) for j in range(i)]


def test_images_without_masks_still_reach_every_weight() -> None:
    predictions = random_predictions(2)
    empty = BitMasks.pack([], SIZE)
    losses = set_losses(predictions, [empty, empty], [1, 2], torch.zeros(2), LossSettings(points=9))
    assert losses[:, 1:].eq(0).all()
    assert losses[:, 0].gt(0).all()
    for gradient in gradients(losses, predictions):  # raises for what is not connected
        assert gradient.isfinite().all()


def test_what_is_no_number_is_told_by_the_loss() -> None:
    predictions = random_predictions(2)
    with torch.no_grad():
        predictions.embeddings[0, 0, 0] = torch.nan
    targets = [packed(random_masks(i, 6)) for i in range(2)]
    losses = set_losses(predictions, targets, [1, 2], torch.ones(2), LossSettings(points=9))
    assert losses[0, 1].isnan()
    assert losses[1].isfinite().all()


@pytest.mark.parametrize("n", [1, 4])
def test_masks_at_points_are_those_of_grid_sample(n: int) -> None:
    masks = random_masks(4, n)
    points = torch.rand(n, 300, 2, generator=torch.Generator().manual_seed(0))
    points[:, :4] = torch.tensor([[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.5, 1.0]])
    expected = sample_maps(masks[:, None].float(), points)[:, 0]
    torch.testing.assert_close(packed(masks).at(points), expected, rtol=0, atol=1e-5)
    shared = packed(masks).at(points[:1])
    every = sample_maps(masks[:, None].float(), points[:1].expand(n, -1, -1))[:, 0]
    torch.testing.assert_close(shared, every, rtol=0, atol=1e-5)


def test_packing_keeps_masks() -> None:
    masks = random_masks(8, 6)
    bits = packed(masks)
    assert torch.equal(bits.unpack(), masks)
    assert bits.areas().tolist() == masks.sum((1, 2)).tolist()
    assert torch.equal(bits.take(torch.tensor([4, 1])).unpack(), masks[[4, 1]])
    assert bits.present().tolist() == masks.any(2).any(1).tolist()
    empty = BitMasks.pack([], SIZE)
    assert empty.unpack().shape == (0, *SIZE)
    assert empty.at(torch.rand(1, 7, 2)).shape == (0, 7)


def test_most_points_are_where_the_mask_is_uncertain() -> None:
    x = torch.linspace(-8, 8, 64).expand(2, 64, 64).contiguous()  # a vertical border
    g = torch.Generator().manual_seed(0)
    points = uncertain_points(x, 1000, g)
    assert points.shape == (2, 1000, 2)
    distance = (points[..., 0] - 0.5).abs()
    assert (distance < 0.15).float().mean(1).tolist() == pytest.approx([0.82, 0.82], abs=0.04)
    assert (distance[:, :750].max(1).values < 0.2).all()


def test_assignments_are_of_least_cost_and_ascending() -> None:
    costs = torch.tensor([[[4.0, 1.0], [2.0, 0.0], [3.0, 5.0]]])
    ((queries, masks),) = assign(costs)
    assert (queries.tolist(), masks.tolist()) == ([0, 1], [1, 0])
    for q, _ in assign(torch.rand(3, 4, 9)):
        assert all(a < b for a, b in pairwise(q.tolist()))
        assert len(q) == 4
