"""One normalised cut, and MaskCut as a whole, against a dense generalised eigensolver.

The row "solver" compares our Lanczos with scipy's `eigsh`, on the same graph.

    python tests/benchmarks/bench_cut.py [--grid 60] [--channels 768] [--repeats 3] [--image FILE]

Else both sides start from the features: building the graph counts. Repetitions alternate in one
process and their medians are compared. An image is described by the mean colours of its patches
under random cosines, which is no good descriptor but a real distribution.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy.linalg
import scipy.ndimage
import scipy.sparse.linalg

from unsam_cli.divide.affinity import EPS, Affinity, affinity
from unsam_cli.divide.maskcut import foreground, maskcut
from unsam_cli.divide.ncut import ncut


def dense_cut(features: np.ndarray, tau: float) -> np.ndarray:
    """The vector by scipy's dense solver, as the reference computes it."""
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    weights = np.where(unit @ unit.T > tau, 1.0, EPS)
    degree = np.diag(weights.sum(axis=1))
    vectors = scipy.linalg.eigh(degree - weights, degree, subset_by_index=[1, 2])[1]
    return np.asarray(vectors[:, 0] / np.linalg.norm(vectors[:, 0]))


def our_cut(features: np.ndarray, tau: float) -> np.ndarray:
    return ncut(affinity(features, tau=tau)).vector


def eigsh_cut(graph: Affinity) -> np.ndarray:
    """The vector by scipy's sparse solver, from the same products."""
    root = np.sqrt(graph.degree)
    trivial = root / np.linalg.norm(root)

    def times(x: np.ndarray) -> np.ndarray:
        x = x.ravel()
        # Moves the known eigenvalue 1 to -1, below all others.
        return np.asarray(graph.times(x / root) / root - 2 * trivial * (trivial @ x))

    shape = (graph.nodes, graph.nodes)
    matrix = scipy.sparse.linalg.LinearOperator(shape, matvec=times, dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(graph.nodes)
    vector = scipy.sparse.linalg.eigsh(matrix, k=1, which="LA", v0=start)[1][:, 0] / root
    return np.asarray(vector / np.linalg.norm(vector))


def dense_maskcut(features: np.ndarray, tau: float, max_masks: int = 3) -> list[np.ndarray]:
    h, w, channels = features.shape
    x = features.reshape(h * w, channels).copy()
    painted, previous = np.zeros((2, h, w), bool)
    masks = []
    for index in range(max_masks):
        x[painted.ravel()] = 0
        v = dense_cut(x, tau)
        v *= np.sign(v[np.abs(v).argmax()])
        mask, _ = foreground(v.reshape(h, w))
        overlap = (mask & previous).sum() > 0.5 * (mask | previous).sum()
        if index and (overlap or mask.sum() <= 0.01 * mask.size):
            mask = np.zeros((h, w), bool)
        previous = mask
        if (mask & ~painted).any():
            masks.append(mask & ~painted)
        painted = painted | mask
    return masks


def scene(grid: int, channels: int) -> np.ndarray:
    """Discs with a feature each, with noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:grid, :grid] / grid
    labels = np.zeros((grid, grid), int)
    for k in range(1, 7):
        cy, cx, radius = *rng.uniform(0.1, 0.9, 2), rng.uniform(0.08, 0.2)
        labels[(y - cy) ** 2 + (x - cx) ** 2 < radius**2] = k
    features = rng.standard_normal((7, channels))[labels]
    return (features + 1.5 * rng.standard_normal(features.shape)).astype(np.float32)


def textures(grid: int, channels: int) -> np.ndarray:
    """Smooth random features: no clear objects, every cosine occurs."""
    noise = np.random.default_rng(0).standard_normal((grid, grid, channels))
    smooth = scipy.ndimage.gaussian_filter(noise, (4, 4, 0))
    mixing = np.random.default_rng(1).standard_normal((channels, channels))
    return np.asarray(smooth @ (mixing * np.exp(-np.arange(channels) / 8)), np.float32)


def photograph(path: str, grid: int, channels: int) -> np.ndarray:
    """Mean and deviation of the colours of patches of 8 x 8 pixels, under random cosines."""
    from PIL import Image

    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB").resize((8 * grid, 8 * grid)), np.float64)
    patches = (
        pixels.reshape(grid, 8, grid, 8, 3).transpose(0, 2, 1, 3, 4).reshape(grid, grid, 64, 3)
    )
    colours = np.concatenate([patches.mean(2), patches.std(2)], axis=-1)
    colours = (colours - colours.mean((0, 1))) / (colours.std((0, 1)) + 1e-6)
    rng = np.random.default_rng(0)
    angles = colours @ rng.standard_normal((6, channels)) + rng.uniform(0, 2 * np.pi, channels)
    return np.asarray(np.cos(angles), np.float32)


def inputs(args: argparse.Namespace) -> Iterator[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((args.grid, args.grid, 16)).astype(np.float32)
    yield "random, 16 channels", noise
    yield "scene", scene(args.grid, args.channels)
    yield "textures", textures(args.grid, args.channels)
    if args.image:
        yield "photograph", photograph(args.image, args.grid, args.channels)


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--grid", type=int, default=60, help="side of the grid, patches")
    parser.add_argument("--channels", type=int, default=768)
    parser.add_argument("--tau", type=float, default=0.15)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--image", help="a photograph to cut as well")
    args = parser.parse_args()
    maskcut(scene(8, 8))  # compiles
    print(f"{args.grid} x {args.grid} patches, tau {args.tau}, medians of {args.repeats}")
    print(f"{'features':20} {'what':8} {'theirs s':>9} {'ours s':>9} {'ratio':>7}  agreement")
    for name, features in inputs(args):
        flat = features.reshape(-1, features.shape[-1])
        graph = affinity(flat, tau=args.tau)
        for what, dense, ours in (
            ("solver", lambda g=graph: eigsh_cut(g), lambda g=graph: ncut(g).vector),
            ("cut", lambda f=flat: dense_cut(f, args.tau), lambda f=flat: our_cut(f, args.tau)),
            (
                "maskcut",
                lambda f=features: dense_maskcut(f, args.tau),
                lambda f=features: maskcut(f, tau=args.tau),
            ),
        ):
            repeats = 1 if what == "maskcut" else args.repeats
            runs = [(timed(dense), timed(ours)) for _ in range(repeats)]
            slow = float(np.median([run[0][0] for run in runs]))
            fast = float(np.median([run[1][0] for run in runs]))
            expected, got = runs[0][0][1], runs[0][1][1]
            if what != "maskcut":
                agreement = f"cosine {abs(expected @ got):.9f}"
            else:
                same = len(expected) == len(got) and all(
                    (a == b.mask).all() for a, b in zip(expected, got, strict=True)
                )
                agreement = f"{len(got)} masks, {'identical' if same else 'DIFFERENT'}"
            print(f"{name:20} {what:8} {slow:9.3f} {fast:9.3f} {slow / fast:6.1f}x  {agreement}")


if __name__ == "__main__":
    main()
