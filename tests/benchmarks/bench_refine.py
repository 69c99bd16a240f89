"""Refinement: the masks of a photograph together, against one run for each.

Usage: ``python tests/benchmarks/bench_refine.py [--image FILE] [--masks N] [--single N]``

A single run builds the lattice of the photograph and filters one mask. Times are CPU seconds of
one thread. The photograph is a noisy scene unless a file is given.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unsam_cli.io.images import read_image
from unsam_cli.io.resizing import resize
from unsam_cli.refinement.crf import DenseCrf
from unsam_cli.refinement.guided_masks import refine_guided
from unsam_cli.rle import Rle, RunTable, encode
from unsam_cli.run.resources import peak_memory

Image = NDArray[np.uint8]
SIZE = (480, 640)


def scene(rng: np.random.Generator) -> Image:
    """Return something like a photograph: smooth light, blobs with sharp borders, and noise."""
    small = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    light = resize(small, SIZE).astype(float)
    y, x = np.indices(SIZE)
    for _ in range(60):
        cy, cx, r = rng.integers(SIZE[0]), rng.integers(SIZE[1]), rng.integers(10, 80)
        light[(y - cy) ** 2 + (x - cx) ** 2 < r**2] = rng.integers(0, 256, 3)
    return np.clip(light + rng.normal(0, 6, light.shape), 0, 255).astype(np.uint8)


def some_masks(rng: np.random.Generator, size: tuple[int, int], count: int) -> RunTable:
    """Return boxes of all sizes in steps of 8 pixels."""
    rles: list[Rle] = []
    for _ in range(count):
        mask = np.zeros(size, bool)
        h, w = (max(2, int(side * rng.uniform(0.05, 0.6)) // 8) * 8 for side in size)
        top, left = rng.integers(size[0] - h + 1), rng.integers(size[1] - w + 1)
        mask[top : top + h, left : left + w] = True
        rles.append(encode(mask))
    return RunTable.from_rles(rles, size=size)


def seconds(work: Callable[[], object]) -> float:
    start = time.thread_time()
    work()
    return time.thread_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", type=Path)
    parser.add_argument("--masks", type=int, default=100)
    parser.add_argument("--single", type=int, default=5, help="single runs that are timed")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    picture = read_image(options.image) if options.image else scene(rng)
    masks = some_masks(rng, (picture.shape[0], picture.shape[1]), options.masks)
    DenseCrf(picture[:32, :32]).refine(some_masks(rng, (32, 32), 1))  # compiles
    before = peak_memory()
    build = seconds(lambda: DenseCrf(picture))
    single = np.median(
        [
            seconds(lambda i=i: DenseCrf(picture).refine(masks.take(np.array([i]))))  # type: ignore[misc]
            for i in range(options.single)
        ]
    )
    together = seconds(lambda: DenseCrf(picture).refine(masks))
    memory = (peak_memory() - before) / 2**20
    refine_guided(picture[:64, :64], some_masks(rng, (64, 64), 1))
    guided = seconds(lambda: refine_guided(picture, masks))
    count = len(masks)
    print(f"{picture.shape[1]} x {picture.shape[0]} pixels, {count} masks, CPU seconds")
    print(f"crf: lattice {build:.2f}, one mask with its lattice {single:.2f}")
    print(
        f"crf: {count} masks together {together:.2f}, {1000 * together / count:.0f} ms a mask: "
        f"{single * count / together:.1f} times as fast as {count} single runs"
    )
    print(f"crf: at most {memory:.0f} MiB more than before")
    print(f"guided: {1000 * guided / count:.1f} ms a mask")


if __name__ == "__main__":
    main()
