"""Cells as queries: where they are, what their masks are, and which of them are drawn."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from segmenter_models import CONFIGS, make_pixels, make_segmenter
from torch import Tensor, nn

from unsam_cli.errors import CheckpointError
from unsam_cli.models.candidates import SAME, pick
from unsam_cli.models.cells import FORM, RANGES, STRIDES, Cells, place_maps, range_of
from unsam_cli.models.condinst import STRIDE, CondInst, CondInstConfig, cell_numbers
from unsam_cli.models.condinst_files import load_condinst, save_condinst
from unsam_cli.models.loading import create_segmenter, load_segmenter, save_segmenter
from unsam_cli.models.predictions import Predictions
from unsam_cli.prediction.predict import predict_image
from unsam_cli.prediction.settings import PredictSettings

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")
SIZE = 64, 96


def test_cells_are_where_their_numbers_come_from() -> None:
    cells = Cells.of(SIZE, CPU)
    found, at = [], []
    for stride in STRIDES:
        h, w = SIZE[0] // stride, SIZE[1] // stride
        y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        level = torch.stack((x, y)).float()[None]
        head = nn.Linear(2, RANGES * 3)
        with torch.no_grad():
            head.weight.copy_(torch.tensor([[1.0, 0], [0, 1], [0, 0]] * RANGES))
            head.bias.copy_(torch.tensor([0.0, 0, 0, 0, 0, 1]))
        numbers = cell_numbers(nn.Identity(), head, level)[0]
        assert numbers[:, 2].tolist() == [0] * (h * w) + [1] * (h * w)
        found.append(numbers[:, :2] * stride + stride / 2)
        at.append((h, w))
    middle = torch.tensor([SIZE[1] / 2, SIZE[0] / 2])
    torch.testing.assert_close(cells.centres, torch.cat(found) - middle)
    assert cells.grids == [grid for grid in at for _ in range(RANGES)]


def test_ranges_follow_each_other() -> None:
    sizes = torch.tensor([0.5, 8.9, 9.1, 14.3, 14.5, 23.1, 59.1, 94.5, 151.1, 5000.0])
    assert range_of(sizes).tolist() == [0, 0, 1, 1, 2, 3, 5, 6, 7, 7]
    sizes = Cells.of(SIZE, CPU).sizes
    ranges = range_of(sizes)
    assert (ranges.diff() >= 0).all()
    assert torch.unique(ranges).tolist() == list(range(len(STRIDES) * RANGES))


def test_a_form_is_an_ellipse_around_its_centre() -> None:
    rng = torch.Generator().manual_seed(0)
    cells = Cells.of(SIZE, CPU)
    numbers = torch.randn(len(cells.sizes), FORM, generator=rng)
    maps = place_maps((32, 48), STRIDE, CPU)
    logits = cells.forms(numbers) @ maps.flatten(1)
    for cell in (0, 5, 400, len(numbers) - 1):
        constant, dx, dy, a, b, c = numbers[cell].double()
        size, scale = cells.sizes[cell].double(), 1 / (0.8 * cells.sizes[cell].double())
        triangle = scale * torch.tensor([[a.clamp(-3, 1.5).exp(), 0], [c, b.clamp(-3, 1.5).exp()]])
        centre = cells.centres[cell].double() + torch.stack((dx, dy)) * size / 2
        for row, column in ((0, 0), (31, 47), (10, 20)):
            place = torch.tensor([STRIDE * (column + 0.5) - 48, STRIDE * (row + 0.5) - 32])
            away = triangle @ (place.double() - centre)
            expected = constant - away @ away
            assert logits[cell, row * 48 + column] == pytest.approx(
                float(expected), rel=1e-3, abs=1e-3
            )


def discs(*places: tuple[float, float, float]) -> tuple[Cells, Tensor, Tensor]:
    """Return cells of which some have discs as masks: score, x and y in pixels, all of one size."""
    cells = Cells.of(SIZE, CPU)
    numbers = torch.zeros(1, len(cells.sizes), 1 + FORM)
    numbers[..., 0] = -9
    for score, x, y in places:
        at = torch.tensor([x - SIZE[1] / 2, y - SIZE[0] / 2])
        small = cells.sizes == cells.sizes[0]
        cell = ((cells.centres - at).norm(dim=1) + 1000 * ~small).argmin()
        numbers[0, cell, :2] = torch.tensor([score, 1.0])
    return cells, numbers, place_maps((32, 48), STRIDE, CPU)[None]


def test_peaks_become_masks_and_their_neighbours_rank_behind() -> None:
    # Cells at stride 4: the second is the neighbour of the first, the third is not.
    cells, numbers, features = discs((2.0, 30, 30), (1.0, 34, 30), (0.5, 70, 30))
    found = pick(features, numbers, cells, 10)
    scores = found.class_logits[0, 0].softmax(-1)[:, 0]
    expected = torch.tensor([2.0, 0.5]).sigmoid()
    torch.testing.assert_close(scores[:2], expected, rtol=1e-4, atol=1e-4)
    assert 0 < scores[2] <= 0.501 * torch.tensor(1.0).sigmoid()
    masks = found.mask_logits()[0] > 0
    for mask, x in zip(masks, (30, 70, 34), strict=True):
        rows, columns = mask.nonzero().float().mean(0) * STRIDE + STRIDE / 2
        assert (float(columns), float(rows)) == pytest.approx((x, 30))
        assert float(mask.sum() * STRIDE**2) == pytest.approx(
            math.pi * (0.8 * float(cells.sizes[0])) ** 2, rel=0.2
        )


def test_the_same_mask_again_ranks_behind_all_others() -> None:
    cells, numbers, features = discs((3.0, 30, 30), (-2.0, 70, 30))
    again = int((numbers[0, :, 0] == 3).nonzero()) + len(cells.sizes[cells.sizes == cells.sizes[0]])
    scale = float(cells.sizes[again] / cells.sizes[0])
    numbers[0, again, :2] = torch.tensor([2.0, 1.0])  # of the next range, but as small
    numbers[0, again, 4:6] = math.log(scale)
    found = pick(features, numbers, cells, 10)
    scores = found.class_logits[0, 0].softmax(-1)[:, 0]
    masks = (found.mask_logits()[0] > 0).flatten(1)
    assert torch.equal(masks[0], masks[1])
    assert scores[0] > scores[2] > scores[1] > 0
    assert SAME < 1


def positive_in_windows(found: Predictions) -> list[float]:
    """Return how much of its window each mask fills, and check that it has nothing outside."""
    assert found.windows is not None
    shares = []
    for mask, (x0, y0, x1, y1) in zip(
        found.mask_logits()[0] > 0, found.windows[0].tolist(), strict=True
    ):
        assert mask[y0:y1, x0:x1].sum() == mask.sum()
        shares.append(float(mask[y0:y1, x0:x1].float().mean()))
    return shares


def test_windows_are_around_ellipses() -> None:
    cells, numbers, features = discs((3.0, 30, 30), (2.0, 70, 30), (1.0, 94, 62))
    tall, tiny = ((numbers[0, :, 0] == score).nonzero() for score in (3, 2))
    numbers[0, tall, 5:7] = torch.tensor([-0.7, 0.5])
    numbers[0, tiny, 2:4] = 2 / cells.sizes[0]  # a pixel's middle, and positive only there
    numbers[0, tiny, 1], numbers[0, tiny, 4:6] = 0.5, 1.5
    found = pick(features, numbers, cells, 10)
    assert (found.mask_logits()[0, 1] > 0).sum() == 1
    assert positive_in_windows(found)[0] > 0.4


@pytest.mark.parametrize("strength", [0.0, 1.0, 30.0])
def test_no_positive_logit_is_outside_of_its_window(strength: float) -> None:
    cells = Cells.of(SIZE, CPU)
    rng = torch.Generator().manual_seed(0)
    numbers = torch.randn(1, len(cells.sizes), 1 + 5 + FORM, generator=rng)
    numbers[..., 1:6] *= strength
    features = torch.cat((torch.randn(5, 32, 48, generator=rng), place_maps((32, 48), STRIDE, CPU)))
    shares = positive_in_windows(pick(features[None], numbers, cells, 500))
    assert len(shares) > 100
    assert max(shares) > 0.5


def test_inputs_of_a_batch_have_as_many_queries() -> None:
    cells, one, features = discs((2.0, 30, 30), (0.5, 70, 30))
    _, other, _ = discs()
    found = pick(features.expand(2, -1, -1, -1), torch.cat((one, other)), cells, 10)
    assert found.embeddings.shape[:3] == (1, 2, 2)
    assert found.class_logits[0, 1].softmax(-1)[:, 0].tolist() == [0, 0]
    assert not (found.mask_logits()[1] > 0).any()
    nothing = pick(features, other, cells, 10)
    assert nothing.embeddings.shape[2] == 0


def test_places_survive_half_precision() -> None:
    segmenter = make_segmenter("condinst")
    pixels = make_pixels(64, 96, 1)
    segmenter.train()
    with torch.no_grad():
        expected = segmenter(pixels)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = segmenter(pixels)
    assert found.embeddings.dtype == found.features.dtype == torch.float32
    assert torch.equal(found.features[:, -6:], expected.features[:, -6:])


def test_pictures_without_masks_and_of_any_size_are_predicted() -> None:
    segmenter = create_segmenter(CONFIGS["condinst"], seed=0).eval()
    for size in ((1, 1), (40, 7), (50, 130)):
        rgb = np.zeros((*size, 3), np.uint8)
        found = predict_image(segmenter, rgb, PredictSettings(max_masks=3))
        assert found.table.size == size
        assert len(found.score) <= 3


@pytest.mark.parametrize("backbone", ["unet", "test_convnext"])
def test_backbones(backbone: str, tmp_path: Path) -> None:
    config = replace(CONFIGS["condinst"], backbone=backbone, backbone_weights="random")
    segmenter = create_segmenter(config, seed=0)
    again = create_segmenter(config, seed=0)
    assert all(
        torch.equal(a, b) for a, b in zip(segmenter.parameters(), again.parameters(), strict=True)
    )
    save_segmenter(segmenter, tmp_path)
    loaded = load_segmenter(str(tmp_path))
    assert loaded.config == replace(config, backbone_weights=None)
    pixels = make_pixels(64, 96, 1)
    with torch.no_grad():
        found, expected = loaded.train()(pixels), segmenter.train()(pixels)
    assert torch.equal(found.class_logits, expected.class_logits)


def test_all_widths_grow_with_the_pyramid() -> None:
    tiny, wide = (
        sum(p.numel() for p in CondInst(CondInstConfig.of_width(hidden)).parameters())
        for hidden in (64, 128)
    )
    assert 3.9 < wide / tiny < 4
    assert CondInstConfig.of_width(64) == CondInstConfig()


def test_folders_from_before_the_stem_could_grow(tmp_path: Path) -> None:
    old = replace(CondInstConfig(), hidden=32)  # a narrow pyramid on the widths of that time
    save_condinst(network := CondInst(old), tmp_path, network.state_dict())
    path = tmp_path / "config.json"
    text = path.read_text()
    path.write_text(text.replace(',\n  "stem": 24', ""))
    assert text != path.read_text()
    assert load_condinst(tmp_path).config == old


@pytest.mark.parametrize(
    ("old", "new"),
    [('"hidden": 32', '"hidden": "32"'), ('"hidden": 32', '"hidden": 33'), ("unet", "no_such")],
)
def test_damaged_settings_are_refused(old: str, new: str, tmp_path: Path) -> None:
    save_segmenter(create_segmenter(CONFIGS["condinst"], seed=0), tmp_path)
    path = tmp_path / "config.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(CheckpointError):
        load_segmenter(str(tmp_path))
