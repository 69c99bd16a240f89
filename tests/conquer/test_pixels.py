from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from unsam_cli.colour import rgb_to_lab
from unsam_cli.conquer import pixels
from unsam_cli.conquer.levels import cells, persistent_clusters
from unsam_cli.conquer.merge import grid_edges, merge_tree
from unsam_cli.conquer.pixels import cluster_runs
from unsam_cli.conquer.votes import compete
from unsam_cli.rle import decode, from_runs
from unsam_cli.sampling import nearest

Mask = NDArray[np.bool_]


def disc(size: int, centre: tuple[int, int], radius: int) -> Mask:
    y, x = np.mgrid[:size, :size]
    return np.asarray((y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2, bool)


def picture(mask: Mask, noise: float = 4, seed: int = 0) -> NDArray[np.uint8]:
    colour = np.where(mask[..., None], [200, 60, 60], [70, 120, 160]).astype(float)
    colour += np.random.default_rng(seed).normal(0, noise, colour.shape)
    return colour.clip(0, 255).astype(np.uint8)


def pooled(mask: Mask, patch: int) -> NDArray[np.int32]:
    n = len(mask) // patch
    return np.asarray(mask.reshape(n, patch, n, patch).mean((1, 3)) > 0.5, np.int32)


def refine_labels(
    labels: NDArray[np.int32], shown: NDArray[np.uint8], rounds: int = pixels.ROUNDS
) -> NDArray[np.int32]:
    """Refine one label image."""
    [fine] = pixels.refine_labels(labels[None], rgb_to_lab(shown), rounds=rounds)
    return np.asarray(fine)


def iou(a: Mask, b: Mask) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("patch", [4, 8, 16])
def test_borders_follow_the_picture(patch: int) -> None:
    mask = disc(192, (90, 100), 60)
    coarse = pooled(mask, patch)
    blocky = refine_labels(coarse, picture(mask), rounds=0) == 1
    fine = refine_labels(coarse, picture(mask)) == 1
    assert iou(fine, mask) > 0.97
    assert iou(fine, mask) > iou(blocky, mask)


def test_a_wrong_patch_at_the_border_is_put_right() -> None:
    mask = disc(128, (64, 64), 40)
    coarse = pooled(mask, 8)
    coarse[8, 13] = 1  # half a patch outside
    assert iou(refine_labels(coarse, picture(mask)) == 1, mask) > 0.97


def test_noise_leaves_no_specks() -> None:
    mask = disc(128, (64, 64), 40)
    fine = refine_labels(pooled(mask, 8), picture(mask, noise=25))
    turns = (np.diff(fine, axis=1) != 0).sum()
    assert turns < 1.3 * (np.diff(mask.astype(int), axis=1) != 0).sum()


def test_a_flat_picture_keeps_straight_borders() -> None:
    labels = np.array([[0, 0, 1, 1]] * 4, dtype=np.int32)
    fine = refine_labels(labels, np.full((40, 40, 3), 128, np.uint8))
    np.testing.assert_array_equal(fine[:, 17], 0)
    np.testing.assert_array_equal(fine[:, 22], 1)


def test_one_label_and_tiny_guides() -> None:
    for shape in [(1, 1), (3, 50), (2, 2)]:
        labels = np.full((4, 5), 7, dtype=np.int32)
        fine = refine_labels(labels, np.zeros((*shape, 3), np.uint8))
        assert fine.shape == (max(4, shape[0]), max(5, shape[1]))
        assert (fine == 7).all()


def test_labels_only_come_from_the_neighbourhood() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 50, (12, 12)).astype(np.int32)
    fine = refine_labels(labels, rng.integers(0, 256, (96, 96, 3), dtype=np.uint8))
    assert set(np.unique(fine)) <= set(np.unique(labels))


def power_of_64(value: np.float32) -> np.float32:
    """Square six times, as the kernel does, in float32."""
    for _ in range(6):
        value *= value
    return value


def voted(
    labels: NDArray[np.int32], colours: NDArray[np.float32], reach: int, step: int, most: int
) -> NDArray[np.int32]:
    """Labels after a vote, one pixel and one voter at a time."""
    out = labels.copy()
    for y, x in np.ndindex(labels.shape):
        votes = {int(labels[y, x]): 0}
        for v, u in np.ndindex(labels.shape):
            if max(abs(v - y), abs(u - x)) <= reach and v % step == u % step == 0:
                a, b, c = colours[v, u] - colours[y, x]
                share = np.float32((9 - abs(v - y)) * (7 - abs(u - x)) / 63 * most)
                close = np.float32(1) - (a * a + b * b + c * c) * np.float32(1 / (128 * 4))
                weight = int(power_of_64(max(np.float32(0), close)) * share)
                votes[int(labels[v, u])] = votes.get(int(labels[v, u]), 0) + weight
        out[y, x] = max(votes, key=votes.__getitem__)  # the first of equal ones
    return out


@pytest.mark.parametrize(("names", "reach", "step"), [(3, 2, 1), (9, 3, 2), (1000, 5, 1)])
def test_votes_are_counted_as_by_hand(names: int, reach: int, step: int) -> None:
    """All partitions at once; also with more labels around a pixel than anyone expects."""
    rng = np.random.default_rng(names)
    labels = rng.integers(0, names, (3, 14, 17)).astype(np.int32)
    labels[1] = labels[1, ::-1] // 2
    labels[2, :, 8:] = 5
    colours = rng.integers(0, 5, (14, 17, 3)).astype(np.float32)
    falloff = np.outer(9 - np.arange(reach + 1), 7 - np.arange(reach + 1)) / 63
    rows, columns = np.arange(0, 14, step), np.arange(0, 17, step)
    near = rng.random(labels.shape) < 0.8
    found = compete(labels, colours, near, falloff, rows, columns, contrast=2.0)
    most = (2**31 - 1) // len(range(-(reach // step * step), reach + 1, step)) ** 2
    for before, mine, chosen in zip(labels, found, near, strict=True):
        expected = np.where(chosen, voted(before, colours, reach, step, most), before)
        np.testing.assert_array_equal(mine, expected)


def largest(mask: Mask) -> Mask:
    """Largest 4-connected piece, of equal ones the first by columns."""
    piece, _ = scipy.ndimage.label(mask.T)
    sizes = np.bincount(piece.ravel())[1:]
    found: Mask = np.equal(piece.T, sizes.argmax() + 1) if len(sizes) else mask
    return found


@settings(max_examples=60, deadline=None)
@given(
    h=st.integers(1, 7),
    w=st.integers(1, 7),
    scale=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    corner=st.tuples(st.integers(0, 5), st.integers(0, 5)),
    margin=st.tuples(st.integers(0, 5), st.integers(0, 5)),
    seed=st.integers(0, 100),
)
def test_runs_are_those_of_the_masks(
    h: int,
    w: int,
    scale: tuple[int, int],
    corner: tuple[int, int],
    margin: tuple[int, int],
    seed: int,
) -> None:
    features = np.random.default_rng(seed).normal(size=(h * w, 3))
    tree = merge_tree(features, grid_edges(h, w))
    node = persistent_clusters(tree, (1.0, -1.0), 1).node
    node = node[np.random.default_rng(seed).random(len(node)) < 0.7]
    partition = cells(tree, node)
    tall, wide = scale
    size = (corner[0] + tall + margin[0], corner[1] + wide + margin[1])
    box = (corner[1], corner[0], wide, tall)
    labels = partition.label.reshape(h, w)
    offsets, runs = cluster_runs(labels, partition.up, box, size)
    large = labels[nearest(tall, h)[:, None], nearest(wide, w)]
    for k in range(1, len(node) + 1):
        expected = np.zeros(size, dtype=bool)
        expected[corner[0] : corner[0] + tall, corner[1] : corner[1] + wide] = (large >= k) & (
            large < partition.end[k]
        )
        mine = runs[offsets[k - 1] : offsets[k]]
        assert (mine[1:, 0] > mine[:-1, 1]).all()
        np.testing.assert_array_equal(decode(from_runs(mine, size)), largest(expected))


def test_a_mask_is_the_largest_piece_of_its_cluster() -> None:
    """Any labels do: a cluster that ends in pieces, at corners and across columns included."""
    rng = np.random.default_rng(0)
    up = np.array([-1, 0, 1, 0])
    for size in [(1, 40), (40, 1), (2, 30), (5, 9), (30, 30)]:
        labels = rng.integers(0, 4, size).astype(np.int32)
        offsets, runs = cluster_runs(labels, up, (0, 0, size[1], size[0]), size)
        for k, cluster in enumerate([(1, 2), (2,), (3,)]):
            mine = decode(from_runs(runs[offsets[k] : offsets[k + 1]], size))
            np.testing.assert_array_equal(mine, largest(np.isin(labels, cluster)))
