from __future__ import annotations

import numpy as np

from unsam_cli.conquer.levels import cells, level_clusters, persistent_clusters
from unsam_cli.conquer.merge import grid_edges, merge_tree
from unsam_cli.conquer.tree import MergeTree

THRESHOLDS = (0.9, 0.5, 0.2)


def tree_of(h: int, w: int, seed: int = 0, channels: int = 3) -> MergeTree:
    features = np.random.default_rng(seed).normal(size=(h * w, channels))
    return merge_tree(features, grid_edges(h, w))


def leaves(tree: MergeTree, node: int) -> list[int]:
    found, todo = list[int](), [node]
    while todo:
        node = todo.pop()
        if node < tree.leaves:
            found.append(node)
        else:
            todo += tree.children[node - tree.leaves].tolist()
    return sorted(found)


def test_paper_levels_repeat_lasting_clusters_and_leave_the_root_out() -> None:
    grid = np.zeros((4, 8, 2), np.float32)
    grid[:, :4, 0] = grid[:, 4:, 1] = 1  # two halves at right angles: cosine 0
    tree = merge_tree(grid.reshape(-1, 2), grid_edges(4, 8))
    levels = level_clusters(tree, (0.6, 0.5, -0.5), 4)
    assert levels[0].tolist() == levels[1].tolist()
    assert tree.size[levels[0]].tolist() == [16, 16]
    assert len(levels[2]) == 0


def test_paper_levels_respect_the_least_size() -> None:
    tree = tree_of(8, 8)
    for threshold, ids in zip(THRESHOLDS, level_clusters(tree, THRESHOLDS, 4), strict=True):
        assert (tree.size[ids] >= 4).all()
        assert set(ids) <= set(tree.clusters(threshold))


def test_persistent_clusters_hold_all_levels_and_what_lives_between_them() -> None:
    tree = tree_of(10, 10)
    found = persistent_clusters(tree, THRESHOLDS, 4)
    assert len(set(found.node.tolist())) == len(found.node)
    for threshold in THRESHOLDS:
        ids = tree.clusters(threshold)
        assert set(ids[tree.size[ids] >= 4]) <= set(found.node)
    born = np.concatenate([np.full(tree.leaves, 1.0), tree.height])[found.node]
    assert (found.level <= born).all()
    assert set(found.level.tolist()) <= set(THRESHOLDS)
    assert (found.death <= born).all()


def test_a_single_threshold_gives_its_own_clusters() -> None:
    tree = tree_of(10, 10)
    found = persistent_clusters(tree, (0.5,), 4)
    ids = tree.clusters(0.5)
    assert found.node.tolist() == ids[tree.size[ids] >= 4].tolist()


def test_level_is_the_highest_threshold_at_which_a_cluster_has_formed() -> None:
    tree = tree_of(10, 10)
    found = persistent_clusters(tree, THRESHOLDS, 4)
    for node, level in zip(found.node.tolist(), found.level.tolist(), strict=True):
        formed = [theta for theta in THRESHOLDS if tree.height[node - tree.leaves] >= theta]
        assert level == formed[0]


def test_every_cluster_is_a_range_of_cells() -> None:
    tree = tree_of(9, 7, seed=4)
    node = persistent_clusters(tree, (0.9, -1.0), 2).node
    partition = cells(tree, node)
    for k, candidate in enumerate(partition.order, start=1):
        inside = (partition.label >= k) & (partition.label < partition.end[k])
        assert np.flatnonzero(inside).tolist() == leaves(tree, int(node[candidate]))
        around = partition.up[k]
        assert 0 <= around < k
        assert partition.end[k] <= partition.end[around]


def test_no_clusters_leave_one_outer_cell() -> None:
    partition = cells(tree_of(3, 3), np.empty(0, dtype=np.int64))
    assert partition.label.tolist() == [0] * 9
    assert partition.up.tolist() == [-1]
