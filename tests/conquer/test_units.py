from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from unsam_cli.conquer import units
from unsam_cli.conquer.merge import PatchGraph, grid_edges, merge_tree
from unsam_cli.conquer.tree import MergeTree
from unsam_cli.conquer.units import unite

NEVER = -1.0
"""A similarity that no pair is below."""


def patches(h: int = 9, w: int = 12, seed: int = 0) -> PatchGraph:
    rng = np.random.default_rng(seed)
    edges = grid_edges(h, w)
    return PatchGraph.of(rng.random((h * w, 5)), edges, rng.uniform(0.5, 2, len(edges)))


def members(tree: MergeTree) -> list[frozenset[int]]:
    """Patches of each cluster."""
    found = [frozenset([leaf]) for leaf in range(tree.leaves)]
    for low, high in tree.children:
        found.append(found[low] | found[high])
    return found


def owner_of(graph: PatchGraph) -> NDArray[np.int64]:
    """Number of the unit of each patch."""
    inside = members(graph.past)
    owner = np.empty(graph.past.leaves, dtype=np.int64)
    for number, root in enumerate(graph.past.roots()):
        owner[list(inside[root])] = number
    return owner


def test_units_are_a_quarter_of_the_patches_and_sums_of_them() -> None:
    graph = patches()
    found = unite(graph, NEVER)
    assert len(found.features) == 27
    owner = owner_of(found)
    for unit, row in enumerate(found.features):
        np.testing.assert_allclose(row, graph.features[owner == unit].sum(axis=0), rtol=1e-6)


def test_borders_between_units_are_added_up() -> None:
    graph = patches()
    assert graph.sharpness is not None
    found = unite(graph, NEVER)
    owner = owner_of(found)
    expected: dict[tuple[int, int], list[float]] = {}
    for (i, j), value in zip(graph.edges, graph.sharpness, strict=True):
        a, b = sorted((int(owner[i]), int(owner[j])))
        if a != b:
            expected.setdefault((a, b), []).append(value)
    assert found.sharpness is not None
    assert {(int(a), int(b)) for a, b in found.edges} == set(expected)
    for (a, b), total, length in zip(found.edges, found.sharpness, found.lengths, strict=True):
        assert total == pytest.approx(sum(expected[int(a), int(b)]))
        assert length == len(expected[int(a), int(b)])


@pytest.mark.parametrize(("size", "border"), [(0.0, 0.0), (0.4, 0.0), (0.1, 1.0)])
def test_a_tree_over_units_is_a_tree_of_patches(size: float, border: float) -> None:
    graph = patches()
    tree = unite(graph, NEVER).tree(size, border)
    assert (tree.leaves, len(tree.children)) == (108, 107)
    assert [len(one) for one in members(tree)] == tree.size.tolist()
    assert members(tree)[-1] == frozenset(range(108))
    assert (np.diff(tree.height) <= 0).all()


def test_the_rule_of_the_units_gives_the_same_tree_with_and_without_them() -> None:
    graph = patches(seed=3)
    rule = units.SIZE_EXPONENT
    assert members(unite(graph, NEVER).tree(rule)) == members(graph.tree(rule))


def test_with_units_of_one_patch_borders_count_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "SHARE", 1.0)
    graph = patches(seed=4)
    expected = merge_tree(
        graph.features,
        graph.edges,
        size_exponent=0.1,
        sharpness=graph.sharpness,
        border_exponent=1.0,
    )
    found = unite(graph, NEVER).tree(0.1, 1.0)
    np.testing.assert_array_equal(found.children, expected.children)
    np.testing.assert_array_equal(found.height, expected.height)


def test_units_of_a_border_are_weighted_by_its_length() -> None:
    """Two borders of the same sharpness: contracted or not, the tree continues alike."""
    graph = patches(seed=5)
    some = unite(graph, NEVER)
    flat = PatchGraph.of(graph.features, graph.edges, np.full(len(graph.edges), 2.0))
    united = unite(flat, NEVER)
    assert united.sharpness is not None
    np.testing.assert_allclose(united.sharpness / united.lengths, 2.0)
    np.testing.assert_array_equal(united.lengths, some.lengths)


def test_no_cluster_below_the_threshold_is_lost_in_a_unit() -> None:
    rng = np.random.default_rng(0)
    graph = PatchGraph.of(rng.normal(size=(100, 8)), grid_edges(10, 10))
    found = unite(graph, 0.9)
    assert len(found.features) > 25
    first = graph.tree(units.SIZE_EXPONENT)
    assert len(found.past.children) == (first.height >= 0.9).sum()
