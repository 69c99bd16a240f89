"""The guided filter against its definition, written as slowly as it reads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unsam_cli.refinement.guided import GuidedFilter


def naive(guide: np.ndarray, p: np.ndarray, radius: int, eps: float) -> np.ndarray:
    h, w, _ = guide.shape
    image = guide.astype(np.float64) / 255

    def box(y: int, x: int) -> tuple[slice, slice]:
        rows = slice(max(y - radius, 0), y + radius + 1)
        return rows, slice(max(x - radius, 0), x + radius + 1)

    a, b = np.empty((h, w, 3)), np.empty((h, w))
    for y, x in np.ndindex(h, w):
        colours, values = image[box(y, x)].reshape(-1, 3), p[box(y, x)].ravel().astype(np.float64)
        centred = colours - colours.mean(0)
        covariance = centred.T @ centred / len(colours) + eps * np.eye(3)
        a[y, x] = np.linalg.solve(covariance, centred.T @ values / len(colours))
        b[y, x] = values.mean() - a[y, x] @ colours.mean(0)
    q = np.empty((h, w))
    for y, x in np.ndindex(h, w):
        q[y, x] = a[box(y, x)].mean((0, 1)) @ image[y, x] + b[box(y, x)].mean()
    return q


@settings(max_examples=25, deadline=None)
@given(
    h=st.integers(1, 14),
    w=st.integers(1, 14),
    radius=st.integers(1, 8),
    eps=st.sampled_from([1e-2, 1e-4]),
    seed=st.integers(0, 2**32 - 1),
)
def test_equals_the_definition(h: int, w: int, radius: int, eps: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    guide = rng.integers(0, 256, (h, w, 3), dtype=np.uint8)
    p = rng.random((h, w)).astype(np.float32)
    q = GuidedFilter(guide, radius, eps).filter(p)
    assert q.dtype == np.float32
    np.testing.assert_allclose(q, naive(guide, p, radius, eps), atol=2e-4)


def test_flat_guide_gives_a_box_mean_twice() -> None:
    guide = np.full((9, 11, 3), 77, np.uint8)
    p = np.zeros((9, 11), np.float32)
    p[4, 5] = 1
    q = GuidedFilter(guide, 1, 1e-4).filter(p)
    kernel = np.outer([1, 2, 3, 2, 1], [1, 2, 3, 2, 1]) / 81
    np.testing.assert_allclose(q[2:7, 3:8], kernel, atol=1e-6)


def test_border_follows_the_edge_of_the_guide() -> None:
    guide = np.zeros((40, 40, 3), np.uint8)
    guide[:, 20:] = 200
    p = np.zeros((40, 40), np.float32)
    p[:, 18:] = 1  # two pixels beside the truth
    q = GuidedFilter(guide, 12, 1e-5).filter(p)
    np.testing.assert_array_equal(q > 0.5, guide[..., 0] > 0)


def test_constant_stays_constant_on_a_long_image() -> None:
    rng = np.random.default_rng(0)
    guide = rng.integers(250, 256, (3000, 30, 3), dtype=np.uint8)
    q = GuidedFilter(guide, 4, 1e-6).filter(np.ones((3000, 30), bool))
    np.testing.assert_allclose(q, 1, atol=1e-5)


@pytest.mark.parametrize(
    ("guide", "radius", "eps", "message"),
    [
        (np.zeros((4, 4), np.uint8), 1, 1e-4, "guide must be"),
        (np.zeros((4, 4, 3), np.float32), 1, 1e-4, "guide must be"),
        (np.zeros((0, 4, 3), np.uint8), 1, 1e-4, "guide must be"),
        (np.zeros((4, 4, 3), np.uint8), 0, 1e-4, "radius"),
        (np.zeros((4, 4, 3), np.uint8), 1, 0.0, "eps"),
        (np.zeros((4, 4, 3), np.uint8), 1, float("nan"), "eps"),
    ],
)
def test_refuses_wrong_parameters(guide: np.ndarray, radius: int, eps: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GuidedFilter(guide, radius, eps)


def test_refuses_wrong_masks() -> None:
    filtering = GuidedFilter(np.zeros((4, 5, 3), np.uint8), 1, 1e-4)
    with pytest.raises(ValueError, match="guide has"):
        filtering.filter(np.zeros((5, 4)))
    with pytest.raises(ValueError, match="finite"):
        filtering.filter(np.full((4, 5), np.nan))
