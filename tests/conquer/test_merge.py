from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from unsam_cli.conquer.merge import PatchGraph, grid_edges, merge_tree
from unsam_cli.conquer.tree import MergeTree
from unsam_cli.errors import DataError

_spec = importlib.util.spec_from_file_location("oracle", Path(__file__).with_name("oracle.py"))
assert _spec is not None
assert _spec.loader is not None
oracle = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(oracle)

THRESHOLDS = (0.9, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, -0.5)


def scene(kind: str, h: int, w: int, channels: int, seed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    grid: Any
    if kind == "noise":
        grid = rng.normal(size=(h, w, channels))
    elif kind == "smooth":
        grid = sum(
            s * gaussian_filter(rng.normal(size=(h, w, channels)), (s, s, 0)) for s in (0.7, 3)
        )
    else:  # flat areas, zero vectors among them: many exact ties
        grid = rng.integers(-1, 2, size=(3, channels))[rng.integers(0, 3, size=(h, w))]
        grid = np.repeat(np.repeat(grid, 2, axis=0), 2, axis=1)[:h, :w]
    found: NDArray[np.float32] = grid.reshape(-1, channels).astype(np.float32)
    return found


def members(tree: MergeTree, threshold: float) -> dict[int, frozenset[int]]:
    owner = tree.cut(threshold)
    return {int(i): frozenset(np.flatnonzero(owner == i).tolist()) for i in np.unique(owner)}


@settings(max_examples=120, deadline=None)
@given(
    kind=st.sampled_from(["noise", "smooth", "flat"]),
    h=st.integers(1, 9),
    w=st.integers(1, 9),
    channels=st.integers(1, 12),
    seed=st.integers(0, 10_000),
)
def test_clusters_are_those_of_the_plain_loop(
    kind: str, h: int, w: int, channels: int, seed: int
) -> None:
    features, edges = scene(kind, h, w, channels, seed), grid_edges(h, w)
    tree = merge_tree(features, edges)
    expected, _ = oracle.merge_levels(features, edges, THRESHOLDS)
    for threshold, clusters in zip(THRESHOLDS, expected, strict=True):
        assert members(tree, threshold) == clusters


@settings(max_examples=60, deadline=None)
@given(data=st.data(), n=st.integers(1, 20), seed=st.integers(0, 1000))
def test_any_graph_connected_or_not_with_loops_and_repeated_edges(
    data: st.DataObject, n: int, seed: int
) -> None:
    pairs = data.draw(
        st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=40)
    )
    edges = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    features = np.random.default_rng(seed).normal(size=(n, 5)).astype(np.float32)
    tree = merge_tree(features, edges)
    expected, _ = oracle.merge_levels(features, edges, THRESHOLDS)
    for threshold, clusters in zip(THRESHOLDS, expected, strict=True):
        assert members(tree, threshold) == clusters


def test_larger_grid_with_network_like_features() -> None:
    features, edges = scene("smooth", 32, 32, 64, 3), grid_edges(32, 32)
    tree = merge_tree(features, edges)
    expected, _ = oracle.merge_levels(features, edges, (0.6, 0.3))
    assert [members(tree, theta) for theta in (0.6, 0.3)] == expected


def test_tree_is_complete_and_its_heights_never_rise() -> None:
    tree = merge_tree(scene("smooth", 7, 5, 4, 0), grid_edges(7, 5))
    assert tree.children.shape == (34, 2)
    assert (np.diff(tree.height) <= 0).all()
    assert tree.size[-1] == 35
    parent = tree.parents()
    assert parent[-1] == -1
    assert (parent[:-1] > np.arange(len(parent) - 1)).all()
    np.testing.assert_array_equal(tree.deaths()[:-1], tree.height[parent[:-1] - 35])


def test_intervals_hold_the_leaves_of_every_cluster() -> None:
    tree = merge_tree(scene("noise", 6, 6, 3, 1), grid_edges(6, 6))
    position, first = tree.intervals()
    assert sorted(position) == list(range(36))
    np.testing.assert_array_equal(tree.totals(np.ones(36)), tree.size)
    low = position.astype(float)
    for merge, (a, b) in enumerate(tree.children):
        low = np.append(low, min(low[a], low[b]))
        assert first[36 + merge] == low[-1]
        assert {first[a], first[b]} == {first[36 + merge], first[36 + merge] + tree.size[a]}


def test_flat_grid_merges_evenly() -> None:
    tree = merge_tree(np.ones((64, 3), np.float32), grid_edges(8, 8))
    np.testing.assert_array_equal(tree.height, 1.0)
    largest_child = tree.size[tree.children[31:]].max(axis=1)  # the second round joins pairs
    assert largest_child.max() <= 32 or tree.size[tree.children[-1]].min() > 1
    assert (tree.size[tree.children[:20]] == 1).all()


def test_size_exponent_lets_small_clusters_go_first() -> None:
    # Two plain halves that differ slightly, and one odd node in the left one.
    grid = np.zeros((6, 12, 2), np.float32)
    grid[..., 0] = 1
    grid[:, 6:, 1] = 0.5
    grid[2, 2] = (1, 0.6)
    features, edges = grid.reshape(-1, 2), grid_edges(6, 12)
    odd = 2 * 12 + 2
    plain = merge_tree(features, edges)
    aware = merge_tree(features, edges, size_exponent=0.3)
    assert odd in plain.children[-1]
    assert sorted(aware.size[aware.children[-1]].tolist()) == [36, 36]
    assert ((aware.height >= 0) & (aware.height <= 1)).all()


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["noise", "smooth"]),
    h=st.integers(1, 8),
    w=st.integers(1, 8),
    size_exponent=st.sampled_from([0.0, 0.3]),
    border_exponent=st.sampled_from([0.5, 1.0, 2.0]),
    seed=st.integers(0, 10_000),
)
def test_sharp_borders_as_in_the_plain_loop(
    kind: str, h: int, w: int, size_exponent: float, border_exponent: float, seed: int
) -> None:
    """Means over all edges between two clusters, whatever they were merged from."""
    features, edges = scene(kind, h, w, 6, seed), grid_edges(h, w)
    sharpness = np.random.default_rng(seed).uniform(0.2, 5, len(edges))

    def weight(one: frozenset[int], other: frozenset[int]) -> float:
        between = [
            value
            for (i, j), value in zip(edges.tolist(), sharpness, strict=True)
            if (i in one and j in other) or (j in one and i in other)
        ]
        sharp = float(np.mean(between)) ** border_exponent
        return float(min(len(one), len(other)) ** size_exponent * sharp)

    tree = merge_tree(
        features,
        edges,
        size_exponent=size_exponent,
        sharpness=sharpness,
        border_exponent=border_exponent,
    )
    expected, _ = oracle.merge_levels(features, edges, THRESHOLDS, weight)
    for threshold, clusters in zip(THRESHOLDS, expected, strict=True):
        assert members(tree, threshold) == clusters


def test_a_sharp_border_gives_way_last() -> None:
    # Three plain stripes; the left ones differ more, but softly.
    grid = np.zeros((4, 9, 2), np.float32)
    grid[..., 0] = 1
    grid[:, :3, 1] = 0.5
    grid[:, 6:, 1] = -0.3
    features, edges = grid.reshape(-1, 2), grid_edges(4, 9)
    sharpness = np.ones(len(edges))
    sharpness[(edges[:, 0] % 9 == 5) & (edges[:, 1] % 9 == 6)] = 4.0
    plain, sharp = merge_tree(features, edges), merge_tree(features, edges, sharpness=sharpness)
    middle_and_right = plain.cut(plain.height[-2])
    left_and_middle = sharp.cut(sharp.height[-2])
    assert middle_and_right[4] == middle_and_right[8] != middle_and_right[0]
    assert left_and_middle[4] == left_and_middle[0] != left_and_middle[8]


def test_one_node_and_no_edges() -> None:
    tree = merge_tree(np.ones((1, 3), np.float32), grid_edges(1, 1))
    assert tree.nodes == 1
    np.testing.assert_array_equal(tree.cut(0.5), [0])
    assert merge_tree(np.ones((3, 1)), np.empty((0, 2), int)).nodes == 3


def test_input_is_left_alone() -> None:
    features = scene("noise", 4, 4, 3, 0)
    before = features.copy()
    merge_tree(features, grid_edges(4, 4))
    np.testing.assert_array_equal(features, before)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(bad: float) -> None:
    features = np.ones((4, 2), np.float32)
    features[2, 1] = bad
    with pytest.raises(DataError, match="NaN or infinite"):
        merge_tree(features, grid_edges(2, 2))


def test_edges_and_shapes_are_checked() -> None:
    with pytest.raises(DataError, match="outside"):
        merge_tree(np.ones((2, 2)), np.array([[0, 2]]))
    with pytest.raises(DataError, match="array"):
        merge_tree(np.ones((2, 2, 2)), grid_edges(2, 2))


def test_several_trees_of_a_graph_are_those_of_each_alone() -> None:
    features, edges = scene("smooth", 9, 9, 5, 2), grid_edges(9, 9)
    before, graph = features.copy(), PatchGraph.of(features, edges)
    for exponent in (0.0, 0.3, 0.0):
        mine, alone = (
            graph.tree(size_exponent=exponent),
            merge_tree(features, edges, size_exponent=exponent),
        )
        np.testing.assert_array_equal(mine.children, alone.children)
        np.testing.assert_array_equal(mine.height, alone.height)
    np.testing.assert_array_equal(features, before)
