from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
from numpy.typing import NDArray

from unsam_cli.conquer import conquer, forest, packed
from unsam_cli.conquer.conquer import conquer_image
from unsam_cli.conquer.forest import patch_shares
from unsam_cli.conquer.settings import ConquerSettings, Rule
from unsam_cli.errors import UsageError
from unsam_cli.io.features import Record
from unsam_cli.rle import Rle, area, decode, encode, encode_window, iou
from unsam_cli.sampling import nearest

COLOURS = np.array([[60, 90, 150], [200, 60, 60], [230, 200, 60], [40, 160, 70]], dtype=np.uint8)


def scene(side: int = 128) -> NDArray[Any]:
    """A red square holding a yellow one, and a green disc, on blue."""
    y, x = np.mgrid[:side, :side] * (128 / side)
    label = np.zeros((side, side), dtype=int)
    label[(y >= 16) & (y < 80) & (x >= 16) & (x < 80)] = 1
    label[(y >= 32) & (y < 56) & (x >= 32) & (x < 56)] = 2
    label[(y - 98) ** 2 + (x - 98) ** 2 < 20**2] = 3
    return label


def record(
    label: NDArray[Any],
    patch: int = 4,
    bbox: Any = None,
    mask: Rle | None = None,
    dtype: Any = np.float32,
    seed: int = 0,
    common: float = 0.2,
) -> Record:
    """Features of patches: mean of one vector per label, with a little noise."""
    n = len(label) // patch
    rng = np.random.default_rng(seed)
    vectors = np.eye(4, 8) + common
    pixels = vectors[label] + rng.normal(0, 0.02, (*label.shape, 8))
    grid = pixels.reshape(n, patch, n, patch, 8).mean((1, 3)).astype(dtype)
    return Record(bbox or (0, 0, *label.shape[::-1]), mask, 1.0, grid)


def best(masks: Any, truth: NDArray[Any]) -> float:
    return float(iou([mask.rle for mask in masks], [encode(truth)]).max())


LABEL = scene()
PICTURE = COLOURS[LABEL]
RED, YELLOW, GREEN = (LABEL >= 1) & (LABEL <= 2), LABEL == 2, LABEL == 3


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_objects_and_their_parts_are_found_with_exact_borders(dtype: Any) -> None:
    masks = conquer_image([record(LABEL, dtype=dtype)], PICTURE, LABEL.shape)
    for truth in (RED, YELLOW, GREEN):
        assert best(masks, truth) > 0.97


def lies_on(patch: NDArray[Any], mask: NDArray[Any]) -> bool:
    """Whether all pixels of a patch are equal; `patch` is that of each row and column."""
    begin = np.flatnonzero(np.diff(patch, prepend=-1))
    cells = mask[begin][:, begin]
    return bool((cells[patch][:, patch] == mask).all())


def test_without_picture_or_refinement_borders_are_those_of_patches() -> None:
    blocky = ConquerSettings(refine="none")
    for masks in (
        conquer_image([record(LABEL)], PICTURE, LABEL.shape, blocky),
        conquer_image([record(LABEL)], None, LABEL.shape),
    ):
        assert best(masks, YELLOW) == 1.0  # it lies on the grid
        for mask in masks:
            assert any(lies_on(nearest(128, side), decode(mask.rle)) for side in (32, 19, 12))


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_the_same_input_gives_the_same_masks(preset: Any) -> None:
    settings = ConquerSettings(preset=preset)
    first = list(conquer_image([record(LABEL)], PICTURE, LABEL.shape, settings))
    assert first == list(conquer_image([record(LABEL)], PICTURE, LABEL.shape, settings))
    assert first


def test_no_two_masks_are_nearly_the_same() -> None:
    whole = record(LABEL)
    masks = conquer_image([whole, whole, record(LABEL, seed=1)], PICTURE, LABEL.shape)
    overlap = iou([m.rle for m in masks], [m.rle for m in masks])
    np.fill_diagonal(overlap, 0)
    assert overlap.max() <= 0.9


def test_masks_of_one_tree_nest() -> None:
    settings = ConquerSettings(rules=(Rule(0.15),))
    masks = conquer_image([record(LABEL)], PICTURE, LABEL.shape, settings)
    pixels = [decode(m.rle) for m in masks]
    for a in pixels:
        for b in pixels:
            common = (a & b).sum()
            assert common in (0, min(a.sum(), b.sum()))


def test_a_mask_is_one_piece_where_the_picture_has_no_bridge() -> None:
    """Patches join a large square and a small one, but the picture has ground between them."""
    label = np.zeros((128, 128), dtype=int)
    label[20:84, 16:64] = 1
    label[40:60, 88:116] = 1
    shown = COLOURS[label]
    label[48:52, 64:88] = 1
    masks = conquer_image([record(label)], shown, label.shape)
    assert best(masks, (label == 1) & (np.arange(128) < 64)) > 0.95
    for mask in masks:
        assert scipy.ndimage.label(decode(mask.rle))[1] == 1


def test_a_region_keeps_to_its_mask_and_box() -> None:
    crop = np.kron(LABEL[16:80, 16:80], np.ones((2, 2), int))
    region = record(crop, bbox=(16, 16, 64, 64), mask=encode(RED))
    masks = conquer_image([region], PICTURE, LABEL.shape)
    assert masks[0].stage == "divide"
    assert masks[0].level is None
    np.testing.assert_array_equal(decode(masks[0].rle), RED)
    for mask in masks[1:]:
        pixels = decode(mask.rle)
        assert (pixels & RED).sum() > 0.85 * pixels.sum()
    assert best(masks[1:], YELLOW) > 0.97


@pytest.mark.parametrize("grid", [(1, 1), (4, 3), (8, 8), (12, 20)])
def test_shares_of_patches(grid: tuple[int, int]) -> None:
    inside = np.random.default_rng(0).random((8, 12)) < 0.5
    fine = np.kron(inside, np.ones((60, 60)))
    parts = fine.reshape(grid[0], 480 // grid[0], grid[1], 720 // grid[1])
    np.testing.assert_allclose(patch_shares(inside, grid), parts.mean((1, 3)), atol=1e-6)


def test_clusters_outside_the_mask_of_a_region_are_left_out() -> None:
    masks = conquer_image([record(LABEL, mask=encode(GREEN))], PICTURE, LABEL.shape)
    assert best(masks, YELLOW) < 0.1


def test_no_mask_ends_where_the_crop_of_a_region_ends() -> None:
    """Ground in the colour of the disc's upper part: it goes on beyond the crop."""
    y, x = np.mgrid[:96, :96]
    disc = (y - 48) ** 2 + (x - 48) ** 2 < 30**2
    label = np.where(disc, 1, 0)
    label[disc & (y < 40)] = 2
    label[(y < 40) & (x > 62)] = 2  # as the upper part of the disc, so one cluster to the corner
    box = (18, 18, 60, 60)
    crop = label[18:78, 18:78]
    region = record(crop, bbox=box, mask=encode(disc))
    masks = conquer_image([region], COLOURS[label], label.shape, ConquerSettings(coverage=0.7))
    assert best(masks[1:], disc & (y >= 40)) > 0.95
    for mask in masks[1:]:
        outside = decode(mask.rle) & ~disc
        assert outside[:, [18, 77]].sum() + outside[[18, 77]].sum() <= 8  # two patches
    # The same box at the border of the image is no cut.
    edge = record(crop, bbox=(0, 0, 60, 60), mask=encode(disc[18:78, 18:78]))
    masks = conquer_image([edge], COLOURS[crop], crop.shape, ConquerSettings(coverage=0.7))
    assert best(masks[1:], crop == 2) > 0.95


def test_a_band_of_a_sky_does_not_outrank_the_sky() -> None:
    """Around a dark disc the features change a little, but the picture shows no border."""
    y, x = np.mgrid[:128, :128]
    distance = np.hypot(y - 64, x - 64)
    disc, band = distance < 32, (distance >= 32) & (distance < 50)
    vectors = np.eye(3, 8)
    vectors[2] = [0.9, 0, 0.45] + 5 * [0]  # the band: near to the sky, 0
    label = np.where(disc, 1, np.where(band, 2, 0))
    grid = vectors[label].reshape(32, 4, 32, 4, 8).mean((1, 3)).astype(np.float32)
    shown = COLOURS[np.where(disc, 1, 0)]
    masks = list(conquer_image([Record((0, 0, 128, 128), None, 1.0, grid)], shown, (128, 128)))
    rles = [mask.rle for mask in masks]
    sky, halo = iou([encode(~disc), encode(band)], rles).argmax(axis=1)
    assert iou([rles[sky], rles[halo]], [encode(~disc), encode(band)]).diagonal().min() > 0.9
    assert masks[sky].score > 3 * masks[halo].score


def tile_of(x: int, y: int, side: int) -> Record:
    """A square of the scene that is seen four times as large."""
    label = LABEL[y : y + side, x : x + side].repeat(4, axis=0).repeat(4, axis=1)
    return record(label, bbox=(x, y, side, side))


def test_a_tile_shows_what_lies_in_it_and_leaves_the_rest_to_others() -> None:
    tile = tile_of(24, 24, 72)  # all of the yellow square, parts of the red one and of the disc
    masks = conquer_image(iter([tile]), PICTURE, LABEL.shape)
    assert best(masks, YELLOW) > 0.97
    assert best(masks, RED) < 0.9
    inside = np.zeros(LABEL.shape, dtype=bool)
    inside[24:96, 24:96] = True
    assert best(masks, inside) < 0.9  # no mask of the tile itself
    assert best(masks, RED & inside) < 0.9
    assert best(masks, GREEN & inside) < 0.9
    both = conquer_image([record(LABEL), tile], PICTURE, LABEL.shape)
    assert min(best(both, truth) for truth in (RED, YELLOW, GREEN)) > 0.97


def test_the_sides_of_the_image_cut_no_mask_of_a_tile() -> None:
    label = np.where(np.arange(128)[:, None] < 40, LABEL, 0)
    label[:20, :20] = 3
    corner = label[:64, :64].repeat(2, axis=0).repeat(2, axis=1)
    masks = conquer_image([record(corner, bbox=(0, 0, 64, 64))], COLOURS[label], label.shape)
    assert best(masks, label == 3) > 0.97


def test_large_images_get_masks_of_their_size() -> None:
    masks = conquer_image([record(LABEL, bbox=(0, 0, 1500, 1000))], PICTURE, (1000, 1500))
    assert {tuple(m.rle["size"]) for m in masks} == {(1000, 1500)}
    rows, columns = np.arange(1000) * 128 // 1000, np.arange(1500) * 128 // 1500
    large = RED[np.ix_(rows, columns)]
    assert best(masks, large) > 0.95


@pytest.mark.parametrize("options", [{}, {"max_masks": 3}, {"nms_window": 3, "max_masks": 0}])
@pytest.mark.parametrize("size", [(128, 128), (300, 333)])
def test_masks_of_large_images_are_those_that_all_at_once_would_give(
    size: tuple[int, int], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where columns of a region repeat, since it was seen at a smaller size."""
    records = [record(LABEL, bbox=(0, 0, *size[::-1])), *(tile_of(x, 0, 64) for x in (0, 64))]
    settings = ConquerSettings(**{"nms_iou": 0.6, **options})
    wanted = conquer_image(records, PICTURE, size, settings)
    monkeypatch.setattr(conquer, "PACKED", 0)
    monkeypatch.setattr(packed, "AT_ONCE", 2)
    found = conquer_image(records, PICTURE, size, settings)
    assert len(found) >= 3
    assert found.table.to_rles() == wanted.table.to_rles()
    assert found.score.tolist() == wanted.score.tolist()
    assert (found.stage, found.level) == (wanted.stage, wanted.level)


@pytest.mark.parametrize("most", [3, 20])
@pytest.mark.parametrize("refine", ["guided", "none"])
def test_masks_are_those_that_all_clusters_would_give(
    most: int, refine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the best clusters are enough (3 masks) or not (all of 20), and how many they are."""
    noise = np.random.default_rng(0).normal(size=(16, 16, 6)).astype(np.float32)
    records = [record(LABEL), Record((0, 0, 128, 128), None, 1.0, noise), tile_of(0, 0, 64)]
    settings = ConquerSettings(nms_iou=0.3, max_masks=most, refine=refine)
    found = []
    for first in (1, 2, 1000):
        monkeypatch.setattr(conquer, "FIRST", first)
        found.append(conquer_image(records, PICTURE, (128, 128), settings))
    assert len(found[2]) == most
    for masks in found[:2]:
        assert masks.table.to_rles() == found[2].table.to_rles()
        assert masks.score.tolist() == found[2].score.tolist()
        assert (masks.stage, masks.level) == (found[2].stage, found[2].level)


def test_levels_scores_and_stages() -> None:
    settings = ConquerSettings()
    masks = conquer_image([record(LABEL)], PICTURE, LABEL.shape, settings)
    parts = [m for m in masks if m.stage == "conquer"]
    assert {m.level for m in parts} <= set(settings.thresholds)
    assert all(0 <= m.score <= 1 for m in masks)
    scores = [m.score for m in parts]
    assert scores == sorted(scores, reverse=True)


def test_least_size_and_most_masks() -> None:
    noise = np.random.default_rng(0).normal(size=(16, 16, 6)).astype(np.float32)
    noisy = Record((0, 0, 64, 64), None, 1.0, noise)
    settings = ConquerSettings(thresholds=(1.0, -1.0), min_patches=6, refine="none")
    masks = conquer_image([noisy], None, (64, 64), settings)
    assert area([m.rle for m in masks]).min() >= 6 * 16
    few = ConquerSettings(thresholds=(1.0, -1.0), max_masks=20, min_patches=6, refine="none")
    assert len(conquer_image([noisy], None, (64, 64), few)) == 20 < len(masks)


def test_paper_preset_never_gives_the_root_and_repeats_lasting_clusters() -> None:
    lasting = record(LABEL, common=0)  # at right angles: nothing merges at any threshold
    masks = conquer_image([lasting], PICTURE, LABEL.shape, ConquerSettings(preset="paper"))
    parts = [m for m in masks if m.stage == "conquer"]
    assert max(area([m.rle for m in parts])) < LABEL.size
    yellow = [m for m in parts if iou([m.rle], [encode(YELLOW)])[0, 0] > 0.9]
    assert len(yellow) == 2  # of six, as published
    full = ConquerSettings(preset="paper", nms_window=10_000)
    assert len(conquer_image([lasting], PICTURE, LABEL.shape, full)) < len(masks)


def test_nothing_in_nothing_out() -> None:
    assert list(conquer_image([], None, (10, 10))) == []


@pytest.mark.parametrize("grid", [(1, 1), (1, 12), (12, 1), (2, 3)])
@pytest.mark.parametrize("preset", ["default", "paper"])
def test_tiny_grids_and_boxes(grid: tuple[int, int], preset: Any) -> None:
    features = np.random.default_rng(0).normal(size=(*grid, 4)).astype(np.float32)
    for bbox in [(3, 4, 1, 1), (0, 0, 20, 10), (19, 9, 1, 1)]:
        x, y, w, h = bbox
        mask = encode_window(np.ones((h, w), dtype=bool), x, y, size=(10, 20))
        tiny = Record(bbox, mask, 0.5, features)
        picture = np.zeros((5, 10, 3), np.uint8)
        masks = conquer_image([tiny], picture, (10, 20), ConquerSettings(preset=preset))
        assert masks[0].stage == "divide"
        assert masks[0].score == 0.5


@pytest.mark.parametrize(
    "wrong",
    [
        {"thresholds": ()},
        {"thresholds": (2.0,)},
        {"min_patches": 0},
        {"coverage": 1.5},
        {"nms_window": -1},
        {"refine": "sharp"},
        {"preset": "best"},
    ],
)
def test_settings_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        ConquerSettings(**wrong)


def test_threads_change_nothing() -> None:
    records = [record(LABEL), record(LABEL, seed=1)]
    with ThreadPoolExecutor(3) as pool:
        shared = conquer_image(records, PICTURE, LABEL.shape, mapper=pool.map)
    assert list(shared) == list(conquer_image(records, PICTURE, LABEL.shape))


def test_regions_have_fewer_trees_beside_the_whole_image_and_tiles_only_full_grids(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = ConquerSettings(rules=(Rule(), Rule(0.1, 1.0), Rule(0.0, 0.0, 0.5)))
    whole = record(LABEL)
    region = record(LABEL, bbox=(16, 16, 64, 64), mask=encode(RED))
    tile = record(LABEL, bbox=(0, 0, 96, 128))
    used: list[Any] = []

    def grow(record: Record, rules: Any, *rest: Any) -> Any:
        used.append(tuple(rules))
        return forest.grow(record, rules, *rest)

    monkeypatch.setattr(conquer, "grow", grow)
    conquer_image([whole, tile, region], PICTURE, LABEL.shape, settings)
    assert used == [settings.rules, settings.rules[:2], settings.region_rules]
    used.clear()
    conquer_image([region], PICTURE, LABEL.shape, settings)
    assert used == [settings.rules]


def test_a_coarser_grid_finds_an_object_of_scattered_patches() -> None:
    """Every second patch of the object is like the ground: only means of patches show it."""
    label = np.zeros((128, 128), dtype=int)
    label[32:96, 32:96] = 1
    y, x = np.mgrid[:128, :128] // 4
    label[(label == 1) & ((y + x) % 2 == 1)] = 0
    wanted = np.zeros((128, 128), dtype=bool)
    wanted[32:96, 32:96] = True
    fine = ConquerSettings(rules=(Rule(0.15),), refine="none")
    coarse = replace(fine, rules=(*fine.rules, Rule(0.15, 0.0, 0.5)))
    assert best(conquer_image([record(label)], None, label.shape, fine), wanted) < 0.8
    assert best(conquer_image([record(label)], None, label.shape, coarse), wanted) > 0.95


@pytest.mark.parametrize(
    "rules",
    [(), (Rule(-0.1),), (Rule(0.1, 0.0, 0.5),), (Rule(), Rule(grid=0.0)), (Rule(), Rule(grid=1.5))],
)
@pytest.mark.parametrize("name", ["rules", "region_rules"])
def test_impossible_rules_are_refused(name: str, rules: Any) -> None:
    with pytest.raises(UsageError, match="rule"):
        ConquerSettings(**{name: rules})
