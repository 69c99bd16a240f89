"""The projection is the best there is, and always the same."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from unsam_cli.extraction.project import project


def gram(features: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    rows = features.reshape(-1, features.shape[2]).astype(np.float64)
    return rows @ rows.T


@given(
    h=st.integers(1, 6),
    w=st.integers(1, 6),
    c=st.integers(1, 12),
    rank=st.integers(1, 14),
    seed=st.integers(0, 99),
)
@settings(deadline=None)
def test_the_gram_error_is_the_optimum(h: int, w: int, c: int, rank: int, seed: int) -> None:
    features = np.random.default_rng(seed).normal(size=(h, w, c)).astype(np.float32)
    found = project(features, rank)
    assert found.shape == (h, w, rank)
    assert found.dtype == np.float32
    values = np.linalg.svd(features.reshape(-1, c).astype(np.float64), compute_uv=False)
    optimum = np.sqrt((values[rank:] ** 4).sum())
    error = np.linalg.norm(gram(found) - gram(features))
    assert error == pytest.approx(optimum, abs=1e-5 * max(1.0, values[0] ** 2))
    assert not found[..., min(h * w, c) :].any()


def test_channels_fall_and_have_a_fixed_sign() -> None:
    features = np.random.default_rng(0).normal(size=(8, 9, 20)).astype(np.float32)
    found = project(features, 5).reshape(-1, 5)
    norms = np.linalg.norm(found, axis=0)
    assert (np.diff(norms) < 0).all()
    assert (found[np.abs(found).argmax(axis=0), range(5)] > 0).all()
    np.testing.assert_allclose(project(-features, 5).reshape(-1, 5), found, atol=1e-5)


@pytest.mark.parametrize("c", [3, 40])
def test_low_rank_and_zero_features_are_kept_exactly(c: int) -> None:
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(4, 4, 2)) @ rng.normal(size=(2, c))).astype(np.float32)
    np.testing.assert_allclose(gram(project(features, 3)), gram(features), atol=1e-4)
    assert not project(np.zeros((2, 3, c), np.float16), 4).any()
