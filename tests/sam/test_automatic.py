"""All masks of an image: those of segment-anything's generator, and what it does not do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sam_models import answer_with_discs, make_original, make_sam2, picture

from unsam_cli.errors import UsageError
from unsam_cli.rle import Rle, RunTable, area, boxes, decode, iou
from unsam_cli.sam.automatic import AutomaticMasks, automatic_masks
from unsam_cli.sam.crops import Crop, crops, grid
from unsam_cli.sam.loading import load_promptable
from unsam_cli.sam.model import PromptableModel
from unsam_cli.sam.promptable import Promptable
from unsam_cli.sam.settings import AutomaticConfig, PromptableConfig

pytestmark = pytest.mark.torch

SIZES = [(90, 121), (200, 300), (160, 128)]


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Any, Promptable]:
    """Return a small original SAM, and the same for us."""
    original = make_original(hidden=32)
    torch.save(original.state_dict(), tmp_path / "sam.pth")
    return original, load_promptable(str(tmp_path / "sam.pth"))


def generate(original: Any, image: Any, config: AutomaticConfig) -> Any:
    from segment_anything import SamAutomaticMaskGenerator

    generator = SamAutomaticMaskGenerator(
        original,
        points_per_side=config.points_per_side,
        pred_iou_thresh=config.min_score,
        stability_score_thresh=config.min_stability,
        stability_score_offset=config.stability_offset,
        box_nms_thresh=config.nms_iou,
        crop_n_layers=config.crop_layers,
        crop_nms_thresh=config.crop_nms_iou,
        crop_overlap_ratio=config.crop_overlap,
        crop_n_points_downscale_factor=config.crop_points_divisor,
        output_mode="coco_rle",
    )
    return generator.generate(image)


def assert_same(found: AutomaticMasks, expected: Any) -> None:
    """Compare masks in their order; a pixel of a border may be on the other side by rounding."""
    assert len(found) == len(expected) > 0
    for row, wanted in enumerate(expected):
        rle: Rle = {
            "size": wanted["segmentation"]["size"],
            "counts": wanted["segmentation"]["counts"].encode(),
        }
        union_less_common = area([rle])[0] * (1 - iou([rle], [found.rles[row]])[0, 0])
        assert union_less_common <= 2
        x0, y0, x1, y1 = found.boxes[row]
        assert np.abs(np.array(wanted["bbox"]) - [x0, y0, x1 - x0, y1 - y0]).max() <= 1
        x0, y0, x1, y1 = found.crops[row]
        assert wanted["crop_box"] == [x0, y0, x1 - x0, y1 - y0]
    for name, values in (
        ("predicted_iou", found.scores),
        ("stability_score", found.stability),
    ):
        np.testing.assert_allclose([w[name] for w in expected], values, atol=1e-3)
    np.testing.assert_array_equal([w["point_coords"][0] for w in expected], found.points)


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("layers", [0, 1, 2])
def test_masks_are_those_of_segment_anything(
    pair: tuple[Any, Promptable],
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
    layers: int,
) -> None:
    config = AutomaticConfig(
        8, 0.6, 0.85, crop_layers=layers, crop_points_divisor=2, crop_nms_iou=0.6
    )
    answer_with_discs(*pair, monkeypatch)
    expected = generate(pair[0], picture(*size), config)
    found = automatic_masks(pair[1], picture(*size), config)
    assert_same(found, expected)
    assert len(found) > 20
    found_in = {tuple(crop) for crop in found.crops.tolist()}
    assert len(found_in) >= [1, 5, 6][layers]  # masks of small crops are often cut off


@pytest.mark.parametrize("size", SIZES[:2])
def test_masks_of_random_weights_are_those_of_segment_anything(
    pair: tuple[Any, Promptable], size: tuple[int, int]
) -> None:
    config = AutomaticConfig(5, -9, 0.1, 0.3, nms_iou=1.0)
    expected = generate(pair[0], picture(*size), config)
    assert_same(automatic_masks(pair[1], picture(*size), config), expected)
    assert len(expected) > 30


def test_nothing_is_found_where_nothing_is_good_enough(pair: tuple[Any, Promptable]) -> None:
    for config in (AutomaticConfig(2, 99), AutomaticConfig(2, -9, 1, 1e9)):
        assert len(automatic_masks(pair[1], picture(40, 50), config)) == 0


def test_thresholds_of_zero_are_none(
    pair: tuple[Any, Promptable], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_with_discs(*pair, monkeypatch)
    config = AutomaticConfig(3, 0, 0, nms_iou=1.0)
    assert len(automatic_masks(pair[1], picture(64, 64), config)) == 27


@pytest.mark.parametrize("layers", [0, 1])
def test_suppression_by_masks_leaves_no_two_alike(
    pair: tuple[Any, Promptable], monkeypatch: pytest.MonkeyPatch, layers: int
) -> None:
    answer_with_discs(*pair, monkeypatch)
    every = AutomaticConfig(8, 0.6, 0.85, nms_iou=1.0, crop_nms_iou=1.0, crop_layers=layers)
    all_masks = automatic_masks(pair[1], picture(*SIZES[0]), every)
    config = replace(every, nms_iou=0.4, crop_nms_iou=0.4, nms="mask")
    found = automatic_masks(pair[1], picture(*SIZES[0]), config)
    assert 0 < len(found) < len(all_masks)
    overlaps = iou(found.rles, found.rles)
    assert overlaps[~np.eye(len(found), dtype=bool)].max() <= 0.4
    if layers:  # smaller crops come first, and within one the best
        sides = (found.crops[:, 2:] - found.crops[:, :2]).prod(axis=1)
        assert (np.diff(sides) >= 0).all()
        assert len(set(sides)) > 1
    else:
        assert (np.diff(found.scores) <= 0).all()
        assert found.scores[0] == all_masks.scores.max()
    by_boxes = automatic_masks(pair[1], picture(*SIZES[0]), replace(config, nms="box"))
    assert len(by_boxes) != len(found)


def test_small_regions_go(
    pair: tuple[Any, Promptable],
) -> None:
    rough = AutomaticConfig(4, -9, 0.1, 0.3, nms_iou=1.0, crop_nms_iou=1.0)
    image = picture(*SIZES[0])
    tidy = AutomaticConfig(4, -9, 0.1, 0.3, nms_iou=1.0, crop_nms_iou=1.0, min_region=30)
    before, after = (automatic_masks(pair[1], image, config) for config in (rough, tidy))
    assert len(before) == len(after)
    from scipy.ndimage import label

    for rle, box in zip(after.rles, after.boxes, strict=True):
        for part in (decode(rle), ~decode(rle)):
            sizes = np.bincount(label(part, np.ones((3, 3)))[0].ravel())[1:]
            assert len(sizes) <= 1 or sizes.min() >= 30
        x, y, w, h = boxes([rle])[0]
        assert box.tolist() == [x, y, x + w - 1, y + h - 1]
    islands = [
        np.bincount(label(decode(r), np.ones((3, 3)))[0].ravel())[1:].min() for r in before.rles
    ]
    assert min(islands) < 30


def test_granularity_asks_for_one_mask_a_point() -> None:
    model = PromptableModel(make_sam2(), PromptableConfig(granularity=True)).eval()
    config = AutomaticConfig(3, -9, 0, nms_iou=1.0)
    image = picture(50, 70)
    fine, coarse = (automatic_masks(model, image, config, granularity=g) for g in (0.1, 1.0))
    assert len(fine) == len(coarse) == 9
    assert fine.rles != coarse.rles
    assert len(automatic_masks(model, image, config)) == 27


def test_masks_are_of_the_images_size() -> None:
    model = PromptableModel(make_sam2()).eval()
    found = automatic_masks(model, picture(33, 77), AutomaticConfig(2, -9, 0, crop_layers=1))
    assert RunTable.from_rles(found.rles, size=(33, 77)).size == (33, 77)


@pytest.mark.parametrize("size", [(333, 500), (64, 64), (7, 1000)])
def test_crops_and_grids_are_those_of_segment_anything(size: tuple[int, int]) -> None:
    from segment_anything.utils.amg import build_all_layer_point_grids, generate_crop_boxes

    config = AutomaticConfig(12, crop_layers=3, crop_points_divisor=2)
    expected, layers = generate_crop_boxes(size, 3, config.crop_overlap)
    found = crops(size, config)
    assert [list(crop.box) for crop in found] == expected
    assert [crop.layer for crop in found] == layers
    points = build_all_layer_point_grids(12, 3, 2)
    for crop in found:
        scaled = points[crop.layer] * np.array(crop.size)[None, ::-1]
        np.testing.assert_array_equal(grid(crop, config), scaled)


def test_a_grid_may_have_no_points_left() -> None:
    assert len(grid(Crop(0, 0, 9, 9, 2), AutomaticConfig(3, crop_points_divisor=2))) == 0


@pytest.mark.parametrize(
    "wrong",
    [{"points_per_side": 0}, {"nms": "circle"}, {"crop_layers": -1}, {"crop_points_divisor": 0}],
)
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        AutomaticConfig(**wrong)
