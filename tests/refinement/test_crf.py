"""The dense CRF on a lattice against the mean field written out: exact sums over all pairs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from fake_gpu import fake_gpu
from large_pictures import Rectangles
from numpy.typing import NDArray
from support import draw_scene

from unsam_cli.io.resizing import resize
from unsam_cli.refinement import crf
from unsam_cli.refinement.crf import DenseCrf, refine_crf
from unsam_cli.refinement.lattice import Lattice
from unsam_cli.rle import RunTable, decode, encode

SIZE = (40, 56)
Mask = NDArray[np.bool_]


def table(*masks: Mask) -> RunTable:
    return RunTable.from_rles([encode(mask) for mask in masks])


def kernel(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussians of all pairs of points, normalised symmetrically."""
    apart = ((features[:, None] - features[None]) ** 2).sum(axis=-1)
    near = np.exp(-apart / 2)
    root = np.sqrt(near.sum(axis=1))
    exact: NDArray[np.float64] = near / root / root[:, None]
    return exact


def features(picture: NDArray[np.uint8]) -> list[tuple[NDArray[np.float64], float]]:
    """Return the two kernels of the CRF, row by row."""
    y, x = (axis.ravel() for axis in np.indices(picture.shape[:2]))
    r, g, b = (picture[..., k].ravel() / 5 for k in range(3))
    near, far = np.stack([x / 3, y / 3], axis=1), np.stack([x / 50, y / 50, r, g, b], axis=1)
    return [(near, 7.0), (far, 10.0)]


def mean_field(picture: NDArray[np.uint8], mask: Mask) -> Mask:
    """Two labels whose distributions are written out, ten rounds, nothing approximated."""
    pairs = np.sum([weight * kernel(points) for points, weight in features(picture)], axis=0)
    unary = np.stack([~mask.ravel(), mask.ravel()]).astype(float)  # of a softmax
    q = np.exp(unary) / np.exp(unary).sum(axis=0)
    for _ in range(10):
        q = np.exp(unary + q @ pairs)
        q /= q.sum(axis=0)
    found: Mask = (q[1] > q[0]).reshape(mask.shape)
    return found


def coarse(seed: int) -> Mask:
    """Return the disc of a scene in steps of four pixels, or blots."""
    if seed < 3:
        y, x = np.indices(SIZE) // 4 * 4
        disc: Mask = (y - 14) ** 2 + (x - 14) ** 2 < 100
        return disc
    blots = np.random.default_rng(seed).random((10, 14)) < 0.4
    return np.kron(blots, np.ones((4, 4))) > 0


@pytest.mark.parametrize("seed", range(6))
def test_masks_are_those_of_exact_sums(seed: int) -> None:
    picture, mask = draw_scene(seed % 3, *SIZE), coarse(seed)
    exact = mean_field(picture, mask)
    found = decode(DenseCrf(picture).refine(table(mask))[0])
    assert (found != exact).mean() < 0.005
    assert (exact != mask).mean() > 0.02  # there was something to do


def test_the_lattice_sums_like_the_gaussian() -> None:
    kernels = features(draw_scene(0, *SIZE))
    given = np.random.default_rng(0).random(SIZE[0] * SIZE[1], np.float32)
    lattice = Lattice(kernels)
    values, spare = lattice.values(1), lattice.values(1)
    np.add.at(values[:, 0], lattice.vertices, lattice.weights * given[:, None])
    lattice.smooth(values, spare)
    found = (lattice.weights * values[lattice.vertices, 0]).sum(axis=1)
    exact = np.sum([weight * kernel(points) @ given for points, weight in kernels], axis=0)
    assert np.abs(found - exact).mean() < 0.02 * exact.mean()


def test_masks_of_a_picture_do_not_depend_on_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = draw_scene(1, *SIZE)
    masks = table(*map(coarse, range(6)), np.zeros(SIZE, bool), np.ones(SIZE, bool))
    field = DenseCrf(picture)
    alone = [field.refine(masks.take(np.array([i])))[0] for i in range(len(masks))]
    assert field.refine(masks) == alone
    monkeypatch.setattr(crf, "SLICE", 3)
    with ThreadPoolExecutor(2) as pool:
        assert field.refine(masks, mapper=pool.map) == alone
    assert decode(alone[-2]).sum() == 0
    assert decode(alone[-1]).all()


@pytest.mark.torch
@pytest.mark.parametrize("device", ["cpu", "cuda:1", "mps"])
def test_a_device_gives_what_the_kernels_give(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crf, "SLICE", 6)
    picture = draw_scene(2, *SIZE)
    masks = table(*(coarse(3 + i) for i in range(10)))  # two slices
    expected = [decode(rle) for rle in DenseCrf(picture).refine(masks)]
    where: Any = nullcontext() if device == "cpu" else fake_gpu(device.partition(":")[0])
    with where as gpu:
        found = [decode(rle) for rle in DenseCrf(picture, device).refine(masks)]
    differing = sum(int((one != other).sum()) for one, other in zip(found, expected, strict=True))
    assert differing <= 1  # of 22 400 pixels: the order of sums
    if gpu is not None:
        assert gpu.waits == 2  # once per slice


def test_large_pictures_are_shrunk() -> None:
    picture = draw_scene(0, 2 * SIZE[0], 2 * SIZE[1])
    mask = np.kron(coarse(0), np.ones((2, 2))) > 0
    [found] = refine_crf(picture, table(mask), max_side=SIZE[1])
    [small] = DenseCrf(resize(picture, SIZE)).refine(table(coarse(0)))
    np.testing.assert_array_equal(decode(found), np.kron(decode(small), np.ones((2, 2))))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="masks are of"):
        DenseCrf(draw_scene(0, *SIZE)).refine(table(np.zeros((4, 4), bool)))
    with pytest.raises(ValueError, match="too many standard deviations"):
        Lattice([(np.full((1, 5), 1e4), 1.0)])


def test_a_large_picture_is_reduced_before_it_is_shrunk() -> None:
    scene = np.kron(draw_scene(0), np.ones((5, 5, 1), np.uint8)).astype(np.uint8)
    mask = np.kron(coarse(0), np.ones((5, 5), bool)).astype(bool)
    picture = Rectangles(scene)
    for most in (60, 128):
        (wanted,), (found,) = (
            refine_crf(one, table(mask), max_side=most) for one in (scene, picture)
        )
        a, b = decode(wanted), decode(found)
        assert (a & b).sum() / (a | b).sum() > 0.99
