"""Maps enlarged straight to runs, against torch's interpolation of whole arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import scipy.ndimage
import torch
from torch.nn.functional import interpolate

from unsam_cli.rle import Enlarged, RunTable, Taps, decode, enlarge

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
    rows, columns = (Taps.bilinear(16, (side, k), (m, m)) for k, m in zip(inner, size, strict=True))
    found = enlarge(maps, rows, columns, offset=1.0)
    expected = resized(maps, ((side, side), inner), (size, size))
    for mask, values in zip(decoded(found, size), expected, strict=True):
        np.testing.assert_array_equal(mask, values > 0)
    np.testing.assert_array_equal(found.inner, (expected > 1).sum((1, 2)))
    np.testing.assert_array_equal(found.outer, (expected > -1).sum((1, 2)))
    assert found.outer[-1] == 0
    assert found.offsets[-1] == found.offsets[-2]


@pytest.mark.parametrize(
    "steps", [[(37, 37)], [(64, 41), (100, 100)], [(5, 5)], [(64, 64), (7, 7)]]
)
def test_weights_are_those_of_torch(steps: list[tuple[int, int]]) -> None:
    taps = Taps.bilinear(16, *steps)
    eye = np.eye(16, dtype=np.float32)
    expected = resized(eye[None], *(((m, 16), (kept, 16)) for m, kept in steps))[0]
    mixing = np.zeros((len(taps), 16), np.float32)
    for tap in range(taps.weights.shape[1]):
        mixing[np.arange(len(taps)), taps.first + tap] += taps.weights[:, tap]
    np.testing.assert_allclose(mixing, expected, atol=2e-6)


def test_a_threshold_moves_the_border() -> None:
    maps = smooth(1, 12, 12)
    taps = Taps.bilinear(12, (50, 50))
    found = enlarge(maps, taps, taps, threshold=3.0, offset=0.5)
    expected = resized(maps, ((50, 50), (50, 50)))[0]
    np.testing.assert_array_equal(decoded(found, (50, 50))[0], expected > 3)
    assert found.inner[0] == (expected > 3.5).sum()
    assert found.outer[0] == (expected > 2.5).sum()


def test_a_window_lands_where_it_belongs() -> None:
    maps = smooth(2, 8, 8)
    rows, columns = Taps.bilinear(8, (20, 20)), Taps.bilinear(8, (30, 30))
    alone = decoded(enlarge(maps, rows, columns), (20, 30))
    placed = enlarge(maps, rows, columns, origin=5 * 40 + 7, stride=40)
    for mask, window in zip(decoded(placed, (40, 50)), alone, strict=True):
        expected = np.zeros((40, 50), bool)
        expected[7:27, 5:35] = window
        np.testing.assert_array_equal(mask, expected)


def test_no_maps_give_no_masks() -> None:
    taps = Taps.bilinear(8, (20, 20))
    found = enlarge(np.empty((0, 8, 8), np.float32), taps, taps)
    assert found.offsets.tolist() == [0]
    assert len(found.runs) == len(found.inner) == 0
