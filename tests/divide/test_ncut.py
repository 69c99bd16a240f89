"""The cut's solver and its bit-packed graph against dense linear algebra."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from hypothesis import example, given, settings
from hypothesis import strategies as st

from unsam_cli.divide import ncut as ncut_module
from unsam_cli.divide.affinity import EPS, Affinity, affinity
from unsam_cli.divide.cliques import small_cliques
from unsam_cli.divide.ncut import ncut


def weights(features: np.ndarray, tau: float, eps: float = EPS) -> np.ndarray:
    x = features.astype(np.float64)
    length = np.linalg.norm(x, axis=1)
    joined = x @ x.T > tau * np.outer(length, length)
    joined &= np.outer(length > 0, length > 0)
    return np.where(joined, 1.0, eps)


def dense_pairs(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    d = np.diag(w.sum(axis=1))
    values, vectors = scipy.linalg.eigh(d - w, d)
    return values, vectors


def from_matrix(joined: np.ndarray) -> Affinity:
    bits = np.packbits(joined, axis=0, bitorder="little")
    return Affinity(bits, joined.sum(axis=0).astype(np.int64))


def blocks(*sizes: int) -> np.ndarray:
    return np.asarray(scipy.linalg.block_diag(*[np.ones((s, s), bool) for s in sizes]), bool)


def scene(seed: int, n: int = 400, objects: int = 4, noise: float = 0.8) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((objects, 24))
    labels = rng.integers(0, objects, n)
    return (centres[labels] + noise * rng.standard_normal((n, 24))).astype(np.float32)


@example(n=127, channels=17, tau=0.15, zeros=False, seed=95)  # a tie, once decided two ways
@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 700),
    channels=st.integers(1, 20),
    tau=st.sampled_from([-0.5, 0.0, 0.15, 0.5, 0.99]),
    zeros=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_graph_equals_the_definition(
    n: int, channels: int, tau: float, zeros: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    features = rng.integers(-3, 4, (n, channels)).astype(np.float32)  # many ties and zero vectors
    if zeros:
        features[rng.random(n) < 0.3] = 0
    graph = affinity(features, tau=tau)
    expected = weights(features, tau)
    # cosines equal to tau in exact arithmetic may fall on either side in float64
    x = features.astype(np.float64)
    length = np.linalg.norm(x, axis=1)
    tied = np.abs(x @ x.T - tau * np.outer(length, length)) < 1e-9
    assert ((graph.dense() == expected) | tied).all()
    np.testing.assert_array_equal(graph.dense(), graph.dense().T)
    np.testing.assert_allclose(graph.degree, graph.dense().sum(axis=0), rtol=1e-12)
    vector = rng.standard_normal(n)
    np.testing.assert_allclose(graph.times(vector), graph.dense() @ vector, atol=1e-9)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_graph_does_not_depend_on_the_scale(scale: float) -> None:
    features = scene(0)
    scaled = affinity(features * np.float32(scale), tau=0.15)
    np.testing.assert_array_equal(scaled.bits, affinity(features, tau=0.15).bits)


def test_float16_features_are_taken() -> None:
    features = scene(0).astype(np.float16)
    expected = weights(features, 0.15)
    np.testing.assert_array_equal(affinity(features, tau=0.15).dense(), expected)


def test_ties_are_decided_in_float64() -> None:
    rng = np.random.default_rng(0)
    a = np.array([1.0, 0.0], np.float32)
    angles = np.arccos(0.15) + rng.uniform(-3e-7, 3e-7, 500)
    features = np.vstack([a, np.stack([np.cos(angles), np.sin(angles)], 1)]).astype(np.float32)
    graph = affinity(features, tau=0.15)
    np.testing.assert_array_equal(graph.dense(), weights(features, 0.15))
    assert 0 < (graph.dense()[0] == 1).sum() < 500


def test_erased_nodes_equal_zero_features() -> None:
    features = scene(1, n=203)
    erased = np.random.default_rng(1).random(203) < 0.4
    graph = affinity(features, tau=0.15).erased(erased)
    features[erased] = 0
    expected = affinity(features, tau=0.15)
    np.testing.assert_array_equal(graph.bits, expected.bits)
    np.testing.assert_array_equal(graph.joined, expected.joined)
    assert (graph.dense()[erased] == EPS).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_refuses_features_that_are_not_finite(value: float) -> None:
    features = scene(0)
    features[7, 3] = value
    with pytest.raises(ValueError, match="patch 7 hold NaN or infinity"):
        affinity(features, tau=0.15)


@pytest.mark.parametrize(
    ("shape", "tau", "eps", "message"),
    [
        ((4,), 0.1, 1e-5, "features must be"),
        ((0, 3), 0.1, 1e-5, "features must be"),
        ((3, 0), 0.1, 1e-5, "features must be"),
        ((3, 3), 1.0, 1e-5, "tau"),
        ((3, 3), float("nan"), 1e-5, "tau"),
        ((3, 3), 0.1, 0.0, "eps"),
    ],
)
def test_refuses_wrong_options(
    shape: tuple[int, ...], tau: float, eps: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        affinity(np.ones(shape), tau=tau, eps=eps)


@pytest.mark.parametrize("n", [2, 3, 20, 33, 150, 400])
@pytest.mark.parametrize("kind", ["scene", "random", "sparse"])
def test_vector_equals_the_dense_solver(n: int, kind: str) -> None:
    rng = np.random.default_rng(n)
    features = scene(n, n) if kind == "scene" else rng.standard_normal((n, 16)).astype(np.float32)
    graph = affinity(features, tau=0.5 if kind == "sparse" else 0.15)
    values, vectors = dense_pairs(graph.dense())
    cut = ncut(graph)
    assert cut.value == pytest.approx(values[1], abs=1e-9)
    assert cut.residual < 1e-7
    assert np.linalg.norm(cut.vector) == pytest.approx(1)
    assert cut.vector[np.abs(cut.vector).argmax()] > 0
    multiplicity = int((values < values[1] + 1e-9).sum()) - 1
    space = np.linalg.qr(vectors[:, 1 : 1 + multiplicity])[0]
    assert np.linalg.norm(space.T @ cut.vector) > 1 - 1e-9
    if n > 32 and kind == "scene":
        assert cut.products > 0


def test_iterative_and_dense_solvers_agree_on_multiple_eigenvalues(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = from_matrix(blocks(50, 50, 50))
    iterative = ncut(graph)
    assert iterative.products > 0
    monkeypatch.setattr(ncut_module, "_DENSE", 1000)
    dense = ncut(graph)
    assert dense.products == 0
    assert iterative.value == pytest.approx(dense.value, abs=1e-12)
    np.testing.assert_allclose(iterative.vector, dense.vector, atol=1e-7)


def test_falls_back_to_the_dense_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = affinity(scene(3), tau=0.15)
    expected = ncut(graph)
    monkeypatch.setattr(ncut_module, "_PRODUCTS", 3)
    fallback = ncut(graph)
    assert (expected.products > 0, fallback.products) == (True, 0)
    np.testing.assert_allclose(fallback.vector, expected.vector, atol=1e-5)


def test_restarts_converge(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path has a tiny gap: Lanczos needs many steps and restarts."""
    n = 300
    i = np.arange(n)
    graph = from_matrix(np.abs(i - i[:, None]) <= 2)
    values, vectors = dense_pairs(graph.dense())
    cut = ncut(graph)
    assert cut.products > ncut_module._BASIS
    assert cut.value == pytest.approx(values[1], abs=1e-10)
    v = vectors[:, 1] / np.linalg.norm(vectors[:, 1])
    assert abs(v @ cut.vector) > 1 - 1e-9


@pytest.mark.parametrize(
    "sizes",
    [
        (1,) * 60,
        (60,),
        (30, 30),
        (20, 20, 20),
        (57, 1, 1, 1),
        (40, 3, 3, 3, 2, 2, 1, 1),
        (2,) * 40,
        (1,) * 59 + (2,),
        (7,) * 9,
    ],
)
def test_disconnected_graphs(sizes: tuple[int, ...]) -> None:
    graph = from_matrix(blocks(*sizes))
    values, vectors = dense_pairs(graph.dense())
    cut = ncut(graph)
    assert cut.value == pytest.approx(values[1], abs=1e-10)
    space = np.linalg.qr(vectors[:, 1:][:, values[1:] < values[1] + 1e-8])[0]
    assert np.linalg.norm(space.T @ cut.vector) > 1 - 1e-8
    np.testing.assert_array_equal(ncut(graph).vector, cut.vector)


def test_erased_nodes_among_the_others() -> None:
    rng = np.random.default_rng(0)
    graph = affinity(scene(5), tau=0.15).erased(rng.random(400) < 0.5)
    values, vectors = dense_pairs(graph.dense())
    cut = ncut(graph)
    assert cut.products > 0
    assert cut.value == pytest.approx(values[1], abs=1e-9)
    v = vectors[:, 1] / np.linalg.norm(vectors[:, 1])
    assert abs(v @ cut.vector) > 1 - 1e-9


def test_nothing_joined_at_all() -> None:
    cut = ncut(affinity(np.zeros((50, 3)), tau=0.15))
    assert cut.value == pytest.approx(1)
    assert np.isfinite(cut.vector).all()


def test_one_node_is_refused() -> None:
    with pytest.raises(ValueError, match="one node"):
        ncut(affinity(np.ones((1, 3)), tau=0.15))


def test_seed_fixes_the_result() -> None:
    graph = affinity(scene(2), tau=0.15)
    first, again, other = ncut(graph, seed=1), ncut(graph, seed=1), ncut(graph, seed=2)
    np.testing.assert_array_equal(first.vector, again.vector)
    np.testing.assert_allclose(first.vector, other.vector, atol=1e-6)


def test_small_cliques_are_found_by_size() -> None:
    order = np.random.default_rng(0).permutation(23)
    joined = blocks(1, 1, 2, 2, 2, 3, 9)
    joined = np.pad(joined, (0, 3))  # three erased nodes
    joined[11 - 2, 8] = joined[8, 11 - 2] = False
    graph = from_matrix(joined[np.ix_(order, order)])
    groups = small_cliques(graph)
    assert [g.shape for g in groups] == [(2, 1), (3, 2)]
    assert sorted(order[groups[0].ravel()]) == [0, 1]
    assert sorted(tuple(sorted(order[c])) for c in groups[1]) == [(2, 3), (4, 5), (6, 7)]
