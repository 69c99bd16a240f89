"""Borders of clusters against counting the pixels of every mask."""

from __future__ import annotations

import numpy as np
import pytest
from support import draw_scene

from unsam_cli.colour import rgb_to_lab
from unsam_cli.conquer.borders import (
    SEEN,
    USUAL,
    Contrast,
    contrast_of,
    measure,
    no_contrast,
    sharpness_of_edges,
)
from unsam_cli.conquer.levels import cells, persistent_clusters
from unsam_cli.conquer.merge import grid_edges, merge_tree


def counted(inside: np.ndarray, contrast: Contrast) -> tuple[int, int, float, float, float]:
    """Area, length, mean contrast, outer and unseen share of the border of one mask."""
    h, w = inside.shape
    wide = np.pad(inside, 1)
    values, outer = [], 0
    for y in range(h):
        for x in range(w + 1):
            if wide[y + 1, x] != wide[y + 1, x + 1] and contrast.across[y, x] >= 0:
                values.append(contrast.across[y, x])
                outer += x in (0, w)
    for y in range(h + 1):
        for x in range(w):
            if wide[y, x + 1] != wide[y + 1, x + 1] and contrast.down[y, x] >= 0:
                values.append(contrast.down[y, x])
                outer += y in (0, h)
    count = max(len(values), 1)
    unseen = sum(value < SEEN for value in values)
    return int(inside.sum()), len(values), float(sum(values)) / count, outer / count, unseen / count


@pytest.mark.parametrize("seed", range(4))
def test_measures_are_those_of_every_mask(seed: int) -> None:
    rng = np.random.default_rng(seed)
    h, w = 9, 12
    tree = merge_tree(rng.normal(size=(h * w, 3)) + 1, grid_edges(h, w))
    found = persistent_clusters(tree, (0.99, -1.0), 2)
    chosen = found.node[rng.random(len(found.node)) < 0.6]
    partition = cells(tree, chosen)
    labels = partition.label.reshape(h, w)
    contrast = contrast_of(rgb_to_lab(draw_scene(seed, h + 4, w + 5))).window(
        slice(0, h), slice(5, w + 5)
    )
    area, length, mean, cut, blank = measure(labels, partition.end, partition.up, contrast)
    assert len(area) == len(chosen) > 5
    for k in range(1, len(chosen) + 1):
        inside = (labels >= k) & (labels < partition.end[k])
        expected = counted(inside, contrast)
        assert (area[k - 1], length[k - 1]) == expected[:2]
        assert (mean[k - 1], cut[k - 1], blank[k - 1]) == pytest.approx(expected[2:])
    assert cut.max() > 0
    assert blank.max() > 0


def test_contrast_is_where_colours_change() -> None:
    picture = np.full((20, 30, 3), 50, dtype=np.uint8)
    picture[:, 15:] = 200
    contrast = contrast_of(rgb_to_lab(picture))
    assert contrast.across[1:-1, 1:-1].argmax(axis=1).tolist() == [14] * 18  # of edges 1, 2, ...
    assert contrast.down[1:-1].max() == pytest.approx(0, abs=1e-3)
    assert (contrast.across[:, [0, -1]] == -1).all()
    assert (contrast.down[[0, -1]] == -1).all()


@pytest.mark.parametrize(("h", "w"), [(4, 5), (1, 3), (8, 10), (40, 50)])
def test_sharpness_is_the_mean_along_the_side_that_patches_share(h: int, w: int) -> None:
    """Also of patches that are no whole number of pixels, or smaller than one."""
    contrast = contrast_of(rgb_to_lab(draw_scene(1, 24, 30)))
    across, down = np.maximum(contrast.across, 0), np.maximum(contrast.down, 0)
    expected = []
    for a, b in grid_edges(h, w).tolist():
        y, x = divmod(b, w)
        if b == a + 1:  # 40 samples along the side, each from the two edges around it
            along = ((y + (np.arange(40) + 0.5) / 40) * 24 / h).astype(int)
            values = [np.interp(x * 30 / w, np.arange(31), across[k]) for k in along]
        else:
            along = ((x + (np.arange(40) + 0.5) / 40) * 30 / w).astype(int)
            values = [np.interp(y * 24 / h, np.arange(25), down[:, k]) for k in along]
        expected.append((1 + np.mean(values)) / (1 + USUAL))
    np.testing.assert_allclose(sharpness_of_edges(contrast, h, w), expected, rtol=0.01)


def test_a_picture_of_one_pixel_has_no_edges() -> None:
    contrast = contrast_of(rgb_to_lab(np.zeros((1, 1, 3), dtype=np.uint8)))
    assert contrast.across.tolist() == [[-1, -1]]
    assert contrast.down.tolist() == [[-1], [-1]]


def test_without_a_picture_all_edges_are_alike() -> None:
    contrast = no_contrast(3, 4)
    assert contrast.across.shape == (3, 5)
    assert contrast.down.shape == (4, 4)
    labels = np.zeros((3, 4), dtype=np.int32)
    labels[1, 1] = 1
    area, length, mean, cut, blank = measure(labels, np.array([2, 2]), np.array([-1, 0]), contrast)
    assert (area.tolist(), length.tolist(), mean.tolist()) == ([1], [4], [USUAL])
    assert (cut.tolist(), blank.tolist()) == ([0.0], [0.0])
