"""From grid to pixels, and the connected regions it needs."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st

from unsam_cli import rle
from unsam_cli.divide.maskcut import Cut
from unsam_cli.divide.upsample import guide_filter, to_pixels
from unsam_cli.refinement.regions import component, fill_holes, label


def cut_of(mask: np.ndarray) -> Cut:
    return Cut(mask, mask.astype(np.float32), 1.0)


def disc(h: int, w: int, radius: float) -> np.ndarray:
    y, x = np.mgrid[:h, :w]
    square = ((y + 0.5) / h - 0.5) ** 2 * h * h + ((x + 0.5) / w - 0.5) ** 2 * w * w
    return np.asarray(square < radius**2)


def coarse(mask: np.ndarray, patch: int) -> np.ndarray:
    h, w = mask.shape
    return np.asarray(mask.reshape(h // patch, patch, w // patch, patch).mean((1, 3)) > 0.5)


def photograph(mask: np.ndarray, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    colours = np.where(mask[..., None], (200, 60, 40), (40, 90, 160))
    return np.clip(colours + rng.normal(0, 4, colours.shape), 0, 255).astype(np.uint8)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_guided_border_follows_the_image() -> None:
    truth = disc(240, 320, 70)
    cut = cut_of(coarse(truth, 16))
    plain = rle.decode(to_pixels(cut, None, (240, 320), refine="none"))
    refined = rle.decode(to_pixels(cut, photograph(truth), (240, 320)))
    np.testing.assert_array_equal(plain, np.kron(cut.mask, np.ones((16, 16), bool)))
    assert iou(plain, truth) < 0.95
    assert iou(refined, truth) > 0.99


def test_image_larger_and_smaller_than_the_guide() -> None:
    truth = disc(240, 320, 70)
    cut = cut_of(coarse(truth, 16))
    guide = photograph(truth)
    large = rle.decode(to_pixels(cut, guide, (960, 1280)))
    assert iou(large, disc(960, 1280, 280)) > 0.99
    small = rle.decode(to_pixels(cut, guide, (61, 83)))
    stretched = scipy.ndimage.zoom(truth.astype(np.float32), (61 / 240, 83 / 320), order=1) > 0.5
    assert iou(small, stretched) > 0.96
    assert rle.area([to_pixels(cut, guide, (1, 1))]).tolist() in ([0], [1])


def test_a_prepared_filter_gives_the_same() -> None:
    truth = disc(240, 320, 70)
    cut, guide = cut_of(coarse(truth, 16)), photograph(truth)
    prepared = guide_filter(guide, cut.mask.shape)
    assert prepared.radius == 24
    assert to_pixels(cut, prepared, (240, 320)) == to_pixels(cut, guide, (240, 320))


def test_small_holes_are_filled_and_specks_dropped() -> None:
    truth = disc(240, 320, 90)
    mask = coarse(truth, 16)
    mask[7, 9] = False
    mask[0, 0] = True
    refined = rle.decode(to_pixels(cut_of(mask), np.full((240, 320, 3), 90, np.uint8), (240, 320)))
    sizes = label(refined)[1]
    assert len(sizes) == 1
    np.testing.assert_array_equal(refined, fill_holes(refined))
    assert refined[7 * 16 + 8, 9 * 16 + 8]


def test_an_object_stays_in_one_piece() -> None:
    """Patches join two discs, but the picture has no bridge between them."""
    y, x = np.mgrid[:240, :320]
    seed = (y - 120) ** 2 + (x - 90) ** 2 < 65**2
    other = (y - 120) ** 2 + (x - 240) ** 2 < 50**2
    mask = coarse(seed | other, 16)
    mask[7, :][5:16] = True
    v = np.where(mask, 1.0, 0.0) + 0.1 * coarse(seed, 16)
    cut = Cut(mask, v.astype(np.float32), 1.0)
    refined = rle.decode(to_pixels(cut, photograph(seed | other), (240, 320)))
    assert len(label(refined)[1]) == 1
    assert iou(refined, seed) > 0.9


def test_a_refinement_that_changes_too_much_is_undone() -> None:
    ring = np.ones((15, 20), bool)
    ring[1:-1, 1:-1] = False  # filling its hole would take the whole image
    refined = rle.decode(to_pixels(cut_of(ring), np.zeros((240, 320, 3), np.uint8), (240, 320)))
    np.testing.assert_array_equal(refined, np.kron(ring, np.ones((16, 16), bool)))


@pytest.mark.parametrize("whole", [True, False])
def test_whole_and_single_patch(whole: bool) -> None:
    mask = np.zeros((6, 8), bool)
    mask[2, 3] = True
    mask |= whole
    area = rle.area([to_pixels(cut_of(mask), np.zeros((48, 64, 3), np.uint8), (480, 640))])[0]
    if whole:
        assert area == 480 * 640
    else:
        assert area > 0


def test_refuses() -> None:
    cut = cut_of(np.ones((3, 3), bool))
    with pytest.raises(ValueError, match="needs a guide"):
        to_pixels(cut, None, (9, 9))
    with pytest.raises(ValueError, match="refine"):
        to_pixels(cut, None, (9, 9), refine="crf")


@settings(max_examples=60, deadline=None)
@given(
    h=st.integers(1, 20),
    w=st.integers(1, 20),
    density=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_regions_equal_scipy(h: int, w: int, density: float, seed: int) -> None:
    mask = np.random.default_rng(seed).random((h, w)) < density
    labels, sizes = label(mask)
    expected, count = scipy.ndimage.label(mask)
    np.testing.assert_array_equal(labels, expected - 1)
    np.testing.assert_array_equal(sizes, np.bincount(expected.ravel(), minlength=count + 1)[1:])
    np.testing.assert_array_equal(fill_holes(mask), scipy.ndimage.binary_fill_holes(mask))


def test_component_is_four_connected() -> None:
    mask = np.array([[1, 1, 0], [0, 0, 1], [1, 0, 1]], bool)
    top = np.array([[1, 1, 0], [0, 0, 0], [0, 0, 0]], bool)
    right = np.array([[0, 0, 0], [0, 0, 1], [0, 0, 1]], bool)
    np.testing.assert_array_equal(component(mask, 0), top)
    np.testing.assert_array_equal(component(mask, 8), right)
    assert not component(mask, 2).any()
