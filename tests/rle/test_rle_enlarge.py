"""Maps enlarged straight to runs, against torch's interpolation of whole arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import scipy.ndimage
import torch
from torch.nn.functional import interpolate

from unsam_cli.rle import Axis, Enlarged, Factors, RunTable, Step, decode, enlarge

pytestmark = pytest.mark.torch


def smooth(n: int, h: int, w: int, seed: int = 0) -> npt.NDArray[np.float32]:
    noise = np.random.default_rng(seed).standard_normal((n, h, w))
    return np.asarray(scipy.ndimage.gaussian_filter(noise, (0, 2, 2)) * 20, np.float32)


def resized(
    maps: npt.NDArray[np.float32], *steps: tuple[tuple[int, int], tuple[int, int]]
) -> npt.NDArray[np.float32]:
    """Resize in steps of (size, what is kept of it)."""
    x = torch.from_numpy(maps)[None]
    for size, (height, width) in steps:
        x = interpolate(x, size, mode="bilinear", align_corners=False)[..., :height, :width]
    return np.asarray(x[0].numpy())


def decoded(found: Enlarged, size: tuple[int, int]) -> list[npt.NDArray[np.bool_]]:
    return [decode(rle) for rle in RunTable.from_runs(found.offsets, found.runs, size).to_rles()]


@pytest.mark.parametrize(
    ("side", "inner", "size"),
    [
        (64, (64, 64), (64, 64)),
        (64, (64, 43), (211, 141)),  # a tall image, enlarged
        (64, (20, 64), (9, 30)),  # a wide one, smaller than the input
        (64, (64, 1), (500, 3)),
    ],
)
def test_masks_are_those_of_whole_arrays(
    side: int, inner: tuple[int, int], size: tuple[int, int]
) -> None:
    maps = np.concatenate([smooth(4, 16, 16), np.full((1, 16, 16), -5, np.float32)])
    maps[1] -= 4
    rows, columns = (Axis.of(16, m, through=(side, k)) for k, m in zip(inner, size, strict=True))
    found = enlarge(maps, rows, columns, offset=1.0)
    expected = resized(maps, ((side, side), inner), (size, size))
    for mask, values in zip(decoded(found, size), expected, strict=True):
        np.testing.assert_array_equal(mask, values > 0)
    np.testing.assert_array_equal(found.inner, (expected > 1).sum((1, 2)))
    np.testing.assert_array_equal(found.outer, (expected > -1).sum((1, 2)))
    assert found.outer[-1] == 0
    assert found.offsets[-1] == found.offsets[-2]


@pytest.mark.parametrize("m", [5, 16, 37])
def test_a_step_is_that_of_torch(m: int) -> None:
    maps = smooth(1, 16, 9)
    expected = resized(maps, ((m, 9), (m - 1, 9)))[0]
    np.testing.assert_allclose(Step.of(16, m, m - 1).mix(maps[0]), expected, atol=1e-5)


@pytest.mark.parametrize("size", [(50, 31), (5, 8), (16, 9)])
def test_a_single_step(size: tuple[int, int]) -> None:
    maps = smooth(3, 16, 9)
    found = enlarge(maps, Axis.of(16, size[0]), Axis.of(9, size[1]))
    for mask, values in zip(decoded(found, size), resized(maps, (size, size)), strict=True):
        np.testing.assert_array_equal(mask, values > 0)
    assert not found.inner.any()
    assert not found.sums.any()


def test_sigmoids_are_summed() -> None:
    maps = smooth(3, 16, 9)
    found = enlarge(maps, Axis.of(16, 40), Axis.of(9, 30), summed=True)
    values = resized(maps, ((40, 30), (40, 30))).astype(np.float64)
    expected = ((values > 0) / (1 + np.exp(-values))).sum((1, 2))
    np.testing.assert_allclose(found.sums, expected, rtol=1e-6)


def test_features_are_multiplied_only_in_windows() -> None:
    rng = np.random.default_rng(0)
    features = rng.integers(-3, 4, (5, 16, 9)).astype(np.float32)  # so that sums are exact
    embeddings = rng.integers(-3, 4, (2, 5)).astype(np.float32)
    windows = np.array([[2, 3, 7, 10], [0, 0, 9, 16]])
    rows, columns = Axis.of(16, 32), Axis.of(9, 27)
    found = enlarge(features, rows, columns, factors=Factors(embeddings, windows), summed=True)
    logits = np.einsum("nc,chw->nhw", embeddings, features)
    whole = enlarge(logits, rows, columns, summed=True)
    (mask, last), (expected, same) = decoded(found, (32, 27)), decoded(whole, (32, 27))
    np.testing.assert_array_equal(mask[8:18, 8:19], expected[8:18, 8:19])
    assert not mask[:5].any()
    assert not mask[21:].any()
    np.testing.assert_array_equal(last, same)
    assert found.sums[1] == whole.sums[1]


def test_a_window_lands_where_it_belongs() -> None:
    maps = smooth(2, 8, 8)
    rows, columns = Axis.of(8, 20), Axis.of(8, 30)
    alone = decoded(enlarge(maps, rows, columns), (20, 30))
    placed = enlarge(maps, rows, columns, origin=5 * 40 + 7, stride=40)
    for mask, window in zip(decoded(placed, (40, 50)), alone, strict=True):
        expected = np.zeros((40, 50), bool)
        expected[7:27, 5:35] = window
        np.testing.assert_array_equal(mask, expected)


def test_no_maps_give_no_masks() -> None:
    axis = Axis.of(8, 20)
    found = enlarge(np.empty((0, 8, 8), np.float32), axis, axis)
    assert found.offsets.tolist() == [0]
    assert len(found.runs) == len(found.inner) == 0
