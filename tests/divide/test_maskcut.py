"""MaskCut against the same rules written plainly over a dense solver, and on known scenes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage

from unsam_cli.divide.maskcut import MAX_NODES, Cut, foreground, maskcut


def oracle(features: np.ndarray, max_masks: int, tau: float) -> list[np.ndarray]:
    """Steps 2 to 7 of the published procedure, with scipy."""
    h, w, _ = features.shape
    n = h * w
    x = features.reshape(n, -1).astype(np.float64)
    painted = np.zeros(n, bool)
    previous = np.zeros(n, bool)
    masks = []
    for index in range(max_masks):
        x[painted] = 0
        length = np.linalg.norm(x, axis=1)
        cosine = x @ x.T / np.maximum(np.outer(length, length), 1e-300)
        weights = np.where(cosine > tau, 1.0, 1e-5)
        degree = np.diag(weights.sum(axis=1))
        v = scipy.linalg.eigh(degree - weights, degree, subset_by_index=[1, 1])[1][:, 0]
        v *= np.sign(v[np.abs(v).argmax()])
        inside = v > v.mean()
        seed = np.abs(v).argmax()
        grid = inside.reshape(h, w)
        if grid[[0, 0, -1, -1], [0, -1, 0, -1]].sum() >= 3 or not inside[seed]:
            v, inside = -v, ~inside
            seed = v.argmax()
        labels, _ = scipy.ndimage.label(inside.reshape(h, w))
        mask = labels.ravel() == labels.ravel()[seed]
        if index:
            union = (mask | previous).sum()
            if (mask & previous).sum() > 0.5 * union or mask.sum() <= 0.01 * n:
                mask = np.zeros(n, bool)
        previous = mask
        new = mask & ~painted
        painted |= mask
        if new.any():
            masks.append(new.reshape(h, w))
    return masks


def scene(seed: int, h: int, w: int, noise: float = 0.5) -> np.ndarray:
    """Rectangles and discs on a background, each with its own feature, and noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:h, :w]
    labels = np.zeros((h, w), int)
    for k in range(1, 5):
        cy, cx = rng.uniform(0.2, 0.8, 2) * (h, w)
        ry, rx = rng.uniform(0.1, 0.25, 2) * (h, w)
        inside = np.maximum(abs(y - cy) / ry, abs(x - cx) / rx) < 1
        if k % 2:
            inside = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1
        labels[inside] = k
    features = rng.standard_normal((5, 32))[labels]
    return (features + noise * rng.standard_normal((h, w, 32))).astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", [(20, 20), (14, 25), (24, 9)])
@pytest.mark.parametrize("noise", [0.4, 1.0])
def test_scenes_equal_the_oracle(seed: int, shape: tuple[int, int], noise: float) -> None:
    features = scene(seed, *shape, noise)
    got = maskcut(features, max_masks=4, tau=0.2)
    expected = oracle(features, 4, 0.2)
    assert len(got) == len(expected)
    for cut, mask in zip(got, expected, strict=True):
        np.testing.assert_array_equal(cut.mask, mask)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("channels", [4, 12])
def test_random_features_equal_the_oracle(seed: int, channels: int) -> None:
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((13, 17, channels)).astype(np.float32)
    features[rng.random((13, 17)) < 0.1] = 0
    got = maskcut(features, max_masks=5)
    expected = oracle(features, 5, 0.15)
    assert len(got) == len(expected)
    for cut, mask in zip(got, expected, strict=True):
        np.testing.assert_array_equal(cut.mask, mask)


def check(cuts: list[Cut], shape: tuple[int, int]) -> None:
    total = np.zeros(shape, int)
    for cut in cuts:
        assert cut.mask.shape == cut.eigenvector.shape == shape
        assert cut.mask.dtype == np.bool_
        assert cut.eigenvector.dtype == np.float32
        assert cut.mask.any()
        assert 0 < cut.score <= 1
        total += cut.mask
    assert total.max(initial=0) <= 1


def test_finds_the_objects_of_a_plain_scene() -> None:
    labels = np.zeros((40, 60), int)
    labels[5:15, 8:20] = 1
    labels[22:36, 35:52] = 2
    rng = np.random.default_rng(0)
    features = np.eye(3)[labels] + 0.05 * rng.standard_normal((40, 60, 3))
    cuts = maskcut(features, tau=0.5)
    check(cuts, (40, 60))
    for k in (1, 2):
        assert any((cut.mask == (labels == k)).all() for cut in cuts)
    assert min(cut.score for cut in cuts) > 0.9


@pytest.mark.parametrize(
    "features",
    [
        np.ones((1, 1, 3)),
        np.ones((8, 9, 3)),
        np.zeros((8, 9, 3)),
        np.zeros((1, 1, 1)),
        np.full((9, 1, 4), -2.5),
    ],
)
def test_nothing_to_find(features: np.ndarray) -> None:
    assert maskcut(features) == []


def test_each_patch_unlike_all_others() -> None:
    cuts = maskcut(np.eye(48).reshape(6, 8, 48))
    check(cuts, (6, 8))
    again = maskcut(np.eye(48).reshape(6, 8, 48))
    assert all((a.mask == b.mask).all() for a, b in zip(cuts, again, strict=True))


@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (2, 1), (3, 3)])
def test_narrow_grids(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    check(maskcut(rng.standard_normal((*shape, 5))), shape)


def test_two_halves() -> None:
    features = np.zeros((6, 10, 2))
    features[:, :5, 0] = features[:, 5:, 1] = 1
    features[0, 0] = features[5, 0] = [1, 0]
    cuts = maskcut(features, max_masks=1)
    assert cuts[0].mask.sum() == 30
    assert cuts[0].score == pytest.approx(1, abs=1e-3)


def test_large_grids_are_pooled() -> None:
    features = np.repeat(np.repeat(scene(1, 30, 40), 3, axis=0), 3, axis=1)
    cuts = maskcut(features, max_nodes=1200)
    small = maskcut(scene(1, 30, 40))
    check(cuts, (90, 120))
    for a, b in zip(cuts, small, strict=True):
        np.testing.assert_array_equal(a.mask, np.repeat(np.repeat(b.mask, 3, 0), 3, 1))
        assert a.score == pytest.approx(b.score)


@pytest.mark.parametrize("shape", [(61, 60), (1, 5000), (5000, 1), (2, 4000), (97, 113)])
def test_any_large_grid_is_cut(shape: tuple[int, int]) -> None:
    assert shape[0] * shape[1] > MAX_NODES
    features = np.zeros((*shape, 2), np.float32)
    features[..., 0] = 1
    features[: -(-shape[0] // 2), : -(-shape[1] // 2)] = [0, 1]
    cuts = maskcut(features, max_masks=1)
    check(cuts, shape)
    inside = features[..., 1] > 0
    wrong = min((cuts[0].mask != inside).mean(), (cuts[0].mask == inside).mean())
    assert wrong < 0.02


def test_eigenvector_is_high_inside() -> None:
    for cut in maskcut(scene(4, 20, 20)):
        assert cut.eigenvector[cut.mask].min() >= cut.eigenvector.mean()


def test_corner_rule_turns_the_partition() -> None:
    v = np.full((5, 6), 2.0)
    v[1:4, 1:4] = -1.0
    mask, turned = foreground(v)
    np.testing.assert_array_equal(mask, v < 0)
    np.testing.assert_array_equal(turned, -v)


@pytest.mark.parametrize(
    ("features", "options", "message"),
    [
        (np.ones((4, 4)), {}, "features must be"),
        (np.ones((0, 4, 3)), {}, "features must be"),
        (np.full((4, 4, 3), np.nan), {}, "NaN"),
        (np.ones((4, 4, 3)), {"max_masks": 0}, "max_masks"),
        (np.ones((4, 4, 3)), {"max_nodes": 1}, "max_nodes"),
        (np.ones((4, 4, 3)), {"tau": 2.0}, "tau"),
    ],
)
def test_refuses(features: np.ndarray, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        maskcut(features, **options)
