from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from unsam_cli.conquer import recurrence as module
from unsam_cli.conquer.levels import Partition, cells
from unsam_cli.conquer.merge import grid_edges, merge_tree
from unsam_cli.conquer.recurrence import recurrence

SIDE = 9


def partition(seed: int, noise: float) -> Partition:
    """Some clusters of a tree over features that are alike for all seeds, except for noise."""
    rng = np.random.default_rng(seed)
    common = np.random.default_rng(7).normal(size=(3, 3, 4)).repeat(3, 0).repeat(3, 1)
    features = common + noise * rng.normal(size=(SIDE, SIDE, 4))
    tree = merge_tree(features.reshape(-1, 4), grid_edges(SIDE, SIDE))
    node = np.flatnonzero(tree.size >= 2)
    return cells(tree, node[rng.random(len(node)) < 0.8])


def masks(one: Partition) -> NDArray[np.bool_]:
    """Clusters as (K, points)."""
    ids = np.arange(1, len(one.up))[:, None]
    return (one.label >= ids) & (one.label < one.end[1:, None])


def plainly(partitions: list[Partition]) -> list[NDArray[np.float64]]:
    results = []
    for one in partitions:
        fourth = []
        for other in partitions:
            a, b = masks(one).astype(float), masks(other).astype(float)
            shared = a @ b.T
            iou = shared / (a.sum(1)[:, None] + b.sum(1) - shared)
            fourth.append(np.where(iou > 0.5, iou, 0).max(axis=1, initial=0) ** 4)
        results.append(np.mean(fourth, axis=0))
    return results


@pytest.mark.parametrize("noise", [0.0, 0.3, 1.0, 3.0])
def test_recurrence_is_that_of_all_pairs(noise: float) -> None:
    partitions = [partition(seed, noise) for seed in range(5)]
    labels = np.stack([one.label.reshape(SIDE, SIDE) for one in partitions])
    found = recurrence(labels, partitions)
    for ours, wanted in zip(found, plainly(partitions), strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-12)
    assert noise > 0 or max(map(np.max, found)) == 1.0


def test_a_cluster_without_points_recurs_only_in_its_own_tree() -> None:
    one = partition(0, 0.3)
    nowhere = np.zeros((2, SIDE, SIDE), dtype=np.int32)
    for found in recurrence(nowhere, [one, one]):
        np.testing.assert_array_equal(found, 0.5)


def test_trees_with_too_many_clusters_count_as_unlike(monkeypatch: pytest.MonkeyPatch) -> None:
    one = partition(0, 0.3)
    labels = np.stack([one.label.reshape(SIDE, SIDE)] * 2)
    np.testing.assert_array_equal(recurrence(labels, [one, one])[0], 1.0)
    monkeypatch.setattr(module, "MOST", 10)
    np.testing.assert_array_equal(recurrence(labels, [one, one])[0], 0.5)


def test_one_tree_has_nothing_to_recur_in() -> None:
    one = partition(0, 0.3)
    [found] = recurrence(one.label.reshape(1, SIDE, SIDE), [one])
    np.testing.assert_array_equal(found, 1.0)
