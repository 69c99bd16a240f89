"""The batched solver against the one for a single graph."""

from __future__ import annotations

import numpy as np
import pytest

from unsam_cli.divide import ncut_batch as module
from unsam_cli.divide.affinity import affinity
from unsam_cli.divide.ncut import ncut
from unsam_cli.divide.ncut_batch import ncut_batch

pytestmark = pytest.mark.torch


def scenes(n: int, count: int = 4) -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((count, 5, 16))
    labels = rng.integers(0, 5, (count, n))
    features = np.take_along_axis(centres, labels[..., None], axis=1)
    return (features + 0.9 * rng.standard_normal((count, n, 16))).astype(np.float32)


def expected(features: np.ndarray, tau: float) -> np.ndarray:
    return np.stack([ncut(affinity(f, tau=tau)).vector for f in features])


@pytest.mark.parametrize("n", [2, 50, 97, 400])
@pytest.mark.parametrize("tau", [-0.1, 0.15])
def test_equals_the_single_solver(n: int, tau: float) -> None:
    features = scenes(n)
    features[1, : n // 4] = 0
    vectors = ncut_batch(features, tau=tau)
    assert vectors.dtype == np.float32
    assert (np.einsum("bn,bn->b", vectors, expected(features, tau)) > 0.9999).all()


def test_iterates_where_float32_suffices(monkeypatch: pytest.MonkeyPatch) -> None:
    features = np.random.default_rng(1).standard_normal((3, 300, 8)).astype(np.float32)
    reference = expected(features, 0.15)
    monkeypatch.setattr(module, "ncut", None)  # not to be called
    vectors = ncut_batch(features)
    assert (np.einsum("bn,bn->b", vectors, reference) > 0.9999).all()


def test_graphs_that_fall_apart_are_left_to_float64() -> None:
    labels = np.repeat(np.arange(3), [100, 70, 50])
    features = np.eye(3, dtype=np.float32)[labels][None]
    vectors = ncut_batch(features)
    assert vectors[0] @ expected(features, 0.15)[0] > 0.9999


def test_empty_batch() -> None:
    assert ncut_batch(np.zeros((0, 9, 3), np.float32)).shape == (0, 9)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.zeros((9, 3), np.float32), "must be"),
        (np.zeros((1, 1, 3), np.float32), "must be"),
        (np.full((1, 9, 3), np.nan, np.float32), "NaN"),
    ],
)
def test_refuses(features: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ncut_batch(features)
