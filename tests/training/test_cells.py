"""Cells and their masks: who answers for what, and what they are told."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from segmenter_models import CONFIGS
from torch.nn import functional

from unsam_cli.models.cells import STRIDES, Cells
from unsam_cli.models.loading import create_segmenter
from unsam_cli.models.predictions import Predictions
from unsam_cli.training.bitmasks import BitMasks
from unsam_cli.training.cell_losses import cell_losses
from unsam_cli.training.cell_targets import NOBODY, Geometry, assign_cells, points_around
from unsam_cli.training.recipe import LossSettings

pytestmark = pytest.mark.torch

SIZE = 64, 96


def box(x: int, y: int, w: int, h: int) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[y : y + h, x : x + w] = True
    return mask


def answers(*masks: np.ndarray, seed: int = 0) -> list[np.ndarray]:
    """Who answers for masks, by range and stride."""
    geometry = Geometry.of(BitMasks.pack(masks, SIZE))
    found = assign_cells(geometry, SIZE, np.random.default_rng(seed)).numpy()
    grids = Cells.of(SIZE, torch.device("cpu")).grids
    parts = np.split(found, np.cumsum([h * w for h, w in grids])[:-1])
    return [part.reshape(grid) for part, grid in zip(parts, grids, strict=True)]


def test_masks_are_measured() -> None:
    rng = np.random.default_rng(0)
    masks = [rng.random(SIZE) < share for share in (0.001, 0.01, 0.5)]
    masks += [box(0, 0, 1, 1), box(95, 63, 1, 1), box(8, 16, 24, 9), box(0, 0, 96, 64)]
    geometry = Geometry.of(BitMasks.pack(masks, SIZE))
    for i, mask in enumerate(masks):
        rows, columns = np.nonzero(mask)
        expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert geometry.boxes[i].tolist() == expected
        assert geometry.areas[i] == mask.sum()
        middle = [columns.mean() + 0.5, rows.mean() + 0.5]
        assert geometry.centroids[i].tolist() == pytest.approx(middle, abs=1e-4)


def test_cells_in_the_middle_of_a_mask_answer_for_it() -> None:
    grids = answers(box(30, 20, 18, 18))  # 18 pixels: the lower range of stride 8
    assert [int((grid != NOBODY).sum()) for grid in grids] == [0, 0, 1, 0, 0, 0, 0, 0]
    assert grids[2][3, 4] == 0  # the cell from 32, 24 to 40, 32; the middle is 39, 29
    # Up to 11.75 pixels from 43.5, 31.5: the middles of four cells of stride 16.
    grids = answers(box(20, 8, 47, 47))
    assert np.argwhere(grids[4] == 0).tolist() == [[1, 2], [2, 2]]
    assert sum(int((grid != NOBODY).sum()) for grid in grids) == 2


def test_small_masks_have_a_cell_and_the_best_wins() -> None:
    small = box(50, 50, 4, 4)
    grids = answers(small)
    assert np.argwhere(grids[0] == 0).tolist() == [[13, 13]]  # of stride 4, around 52, 52
    first = box(29, 20, 18, 18)
    both = answers(first, box(30, 20, 18, 18))
    assert 0 in both[2]
    assert 1 not in both[2]
    other = answers(box(30, 20, 18, 18), first)
    assert np.array_equal(both[2], other[2])


def test_points_are_all_of_a_small_box_and_rows_of_a_large_one() -> None:
    boxes = torch.tensor([[40.0, 20, 48, 28], [0, 0, 96, 64]])
    rows, columns, counted, shares = points_around(boxes, (32, 48), 2, np.random.default_rng(0), 16)
    assert shares.tolist() == [1, 32 * 48 / 16**2]
    # Of 4 x 4 cells: 2 + 2 on each side, from 18 to 26 and 8 to 16 of the features.
    assert columns[0][counted[0].any(0)].tolist() == list(range(16, 28))
    assert rows[0][counted[0].any(1)].tolist() == list(range(6, 18))
    assert counted[1].all()
    for chosen, length in ((rows[1], 32), (columns[1], 48)):
        assert (chosen.diff() > 0).all()
        assert chosen[0] >= 0
        assert chosen[-1] < length
        assert chosen[-1] >= length - 4


def slow_losses(predictions: Predictions, masks: list[np.ndarray], seed: int) -> torch.Tensor:
    """Losses of one image once more, mask by mask."""
    rng = np.random.default_rng(seed)
    geometry = Geometry.of(BitMasks.pack(masks, SIZE))
    who = assign_cells(geometry, SIZE, rng)
    logits = predictions.mask_logits()[0]
    scores = predictions.class_logits[0, 0, :, 0] - predictions.class_logits[0, 0, :, 1]
    quality = torch.zeros_like(scores)
    entropy, dice = torch.zeros(()), torch.zeros(())
    for i, mask in enumerate(masks):
        cells = (who == i).nonzero()[:, 0].tolist()
        small = functional.avg_pool2d(torch.from_numpy(mask)[None].float(), 2)[0]
        x0, y0, x1, y1 = (geometry.boxes[i] / 2).tolist()
        room = (x1 - x0) / 2 + 2, (y1 - y0) / 2 + 2
        near = (
            slice(max(0, int(np.floor(y0 - room[1]))), int(np.ceil(y1 + room[1]))),
            slice(max(0, int(np.floor(x0 - room[0]))), int(np.ceil(x1 + room[0]))),
        )
        wanted = small[near]
        for cell in cells:
            found = logits[cell][near]
            p = found.sigmoid()
            bce = -(wanted * p.log() + (1 - wanted) * (1 - p).log()).mean()
            entropy = entropy + bce / len(cells)
            both = 2 * (p * wanted).sum() + 1
            everywhere = logits[cell].sigmoid().sum()
            dice = dice + (1 - both / (everywhere + wanted.sum() + 1)) / len(cells)
            inside, there = found > 0, wanted >= 0.5
            quality[cell] = (inside & there).sum() / max(1, int((inside | there).sum()))
    p = scores.sigmoid()
    bce = -(quality * p.log() + (1 - quality) * (1 - p).log())
    return torch.stack(((bce * (p - quality) ** 2).sum(), entropy, dice))


def predictions(batch: int = 1) -> Predictions:
    segmenter = create_segmenter(CONFIGS["condinst"], seed=0).train()
    rng = torch.Generator().manual_seed(3)
    found: Predictions = segmenter(torch.randn(batch, 3, *SIZE, generator=rng))
    return found


def test_losses_are_those_of_the_definition() -> None:
    masks = [box(30, 20, 18, 14), box(60, 40, 6, 8), box(2, 3, 9, 9), box(33, 22, 20, 12)]
    found = predictions()
    settings = LossSettings(class_weight=2, mask_weight=3, dice_weight=5)
    packed = [BitMasks.pack(masks, SIZE)]
    losses = cell_losses(found, packed, [7], torch.tensor([4.0]), settings)
    expected = slow_losses(found, masks, 7) * torch.tensor([2.0, 3, 5]) / 4
    torch.testing.assert_close(losses[0], expected, rtol=1e-4, atol=1e-5)


def test_losses_of_images_add_up_and_slivers_are_left_out() -> None:
    found = predictions(3)
    masks = [[box(30, 20, 18, 14)], [], [box(60, 40, 6, 8), box(5, 5, 1, 4)]]
    packed = [BitMasks.pack(m, SIZE) for m in masks]
    total = torch.tensor([3.0])
    together = cell_losses(found, packed, [1, 2, 3], total, LossSettings())
    alone = [
        cell_losses(
            Predictions(
                found.class_logits[:, i : i + 1],
                found.embeddings[:, i : i + 1],
                found.features[i : i + 1],
            ),
            [packed[i]],
            [i + 1],
            total,
            LossSettings(),
        )
        for i in range(3)
    ]
    torch.testing.assert_close(together, sum(alone), rtol=1e-5, atol=1e-6)
    assert alone[1][0, 1:].tolist() == [0, 0]
    # A sliver of four pixels learns nothing: as if it were not there.
    without = cell_losses(
        found, [*packed[:2], BitMasks.pack(masks[2][:1], SIZE)], [1, 2, 3], total, LossSettings()
    )
    torch.testing.assert_close(together, without)


def test_strides_are_those_of_the_cells() -> None:
    grids = Cells.of(SIZE, torch.device("cpu")).grids
    assert [SIZE[0] // h for h, _ in grids] == [s for s in STRIDES for _ in range(2)]
