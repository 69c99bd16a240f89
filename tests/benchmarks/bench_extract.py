"""How much of this machine's multiplication rate feature extraction reaches.

Run as a script: ``python tests/benchmarks/bench_extract.py [--data DIR] [--dtype bfloat16]``.
Matrix products and images take turns in one process, so both see the same machine; medians.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unsam_cli.backbones import create_backbone
from unsam_cli.backbones.speed import torch_product
from unsam_cli.extraction.meter import Meter
from unsam_cli.extraction.pipeline import extract
from unsam_cli.extraction.settings import ExtractSettings, PlanSettings

SIDE = 2048


@dataclass(frozen=True)
class Photo:
    path: Path


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def bench_network(backbone: Any, dtype: str, sizes: list[tuple[int, int]], n: int) -> None:
    """Print the ratio for square images, alone and in batches."""
    product = torch_product(SIDE, dtype, "cpu")
    for size, batch in sizes:
        images = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
        flops = batch * backbone.flops(size, size)
        product()
        backbone.extract(images)
        products, runs = [], []
        for _ in range(n):
            products.append(seconds(product))
            runs.append(seconds(lambda: backbone.extract(images)))  # noqa: B023
            products.append(seconds(product))
        rate = 2 * SIDE**3 / statistics.median(products)
        taken = statistics.median(runs)
        print(
            f"{size:4d} px x {batch}: {taken / batch:6.3f} s an image, "
            f"{flops / taken / 1e9:6.1f} of {rate / 1e9:6.1f} GFLOP/s = {flops / taken / rate:.2f}"
        )


def bench_pipeline(backbone: Any, dtype: str, photos: list[Photo], size: int) -> None:
    """Print the same for files on disk, decoding and storing included."""
    product = torch_product(SIDE, dtype, "cpu")
    product()
    rate = 2 * SIDE**3 / min(seconds(product) for _ in range(5))
    settings = ExtractSettings(plan=PlanSettings(size=size))
    meter = Meter()
    taken = seconds(lambda: list(extract(photos, backbone, settings, jobs=2, meter=meter)))
    print(
        f"{len(photos)} files: {len(photos) / taken:.2f} images/s; in the network "
        f"{meter.fraction_of(rate):.2f} of the rate and {meter.seconds / taken:.2f} of the time"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="vit_base_patch8_224.dino")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--size", type=int, default=480)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--data", type=Path, help="folder of images for the pipeline")
    parser.add_argument("--images", type=int, default=4)
    options = parser.parse_args()
    backbone = create_backbone(
        options.backbone, weights="random", device="cpu", dtype=options.dtype
    )
    print(f"{options.backbone} {options.dtype}, weights {backbone.weights}")
    sizes = [(options.size, 1), (options.size, 2), (256, 1), (256, 8)]
    bench_network(backbone, options.dtype, sizes, options.repeats)
    with tempfile.TemporaryDirectory() as folder:
        if options.data:
            paths = sorted(options.data.rglob("*.jpg"))[: options.images]
        else:
            paths = [Path(folder) / f"{i}.jpg" for i in range(options.images)]
            for i, path in enumerate(paths):
                noise = np.random.default_rng(i).integers(0, 256, (30, 45, 3), dtype=np.uint8)
                Image.fromarray(noise).resize((1500, 1000)).save(path)
        bench_pipeline(backbone, options.dtype, [Photo(p) for p in paths], options.size)


if __name__ == "__main__":
    main()
