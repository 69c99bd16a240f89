"""What training costs beside the network: ``python tests/benchmarks/bench_train.py [PARTS]``.

``--index``: opening annotations of a million masks, time and memory of a fresh process.
``--samples``: reading, cropping and packing images with 500 masks.
``--losses``: matching and losses of one image, by all layers.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unsam_cli.rle import Rle, encode
from unsam_cli.training.recipe import DataSettings, LossSettings

SIZE = (1500, 2250)  # as in SA-1B
PER_IMAGE = 100


def blob(rng: np.random.Generator, size: tuple[int, int] = SIZE) -> NDArray[np.bool_]:
    """Return a wobbly disc of random size."""
    height, width = size
    radius = height * 0.3 * rng.random() ** 2 + 8
    cy, cx = rng.integers(0, size)
    top, left = max(0, int(cy - 2 * radius)), max(0, int(cx - 2 * radius))
    y, x = np.ogrid[
        top : min(height, int(cy + 2 * radius)), left : min(width, int(cx + 2 * radius))
    ]
    angle = np.arctan2(y - cy, x - cx)
    wobble = radius * (1 + 0.2 * np.sin(5 * angle) + 0.1 * np.sin(11 * angle + 1))
    mask = np.zeros(size, dtype=bool, order="F")
    mask[top : top + len(y), left : left + x.shape[1]] = np.hypot(y - cy, x - cx) < wobble
    return mask


def write_annotations(path: Path, images: int, per_image: int, masks: list[Rle]) -> None:
    """Write a COCO file as unsam lays it out, an annotation a line."""
    rng = np.random.default_rng(0)
    with path.open("w") as out:
        entries = [
            {"id": i, "file_name": f"{i:07}.jpg", "height": SIZE[0], "width": SIZE[1]}
            for i in range(1, images + 1)
        ]
        out.write('{"images": ' + json.dumps(entries) + ', "annotations": [\n')
        for number in range(images * per_image):
            rle = masks[rng.integers(len(masks))]
            record: dict[str, Any] = {
                "id": number + 1,
                "image_id": number // per_image + 1,
                "category_id": 1,
            }
            record |= {"iscrowd": 0, "area": 12345, "bbox": [100, 200, 300, 400], "score": 0.5}
            record |= {"segmentation": {"size": rle["size"], "counts": rle["counts"].decode()}}
            out.write(json.dumps(record) + (",\n" if number + 1 < images * per_image else "\n"))
        out.write("]}")


OPEN = """
import resource, sys, time
from pathlib import Path
from unsam_cli.training.dataset import AnnotatedImages
from unsam_cli.training.recipe import DataSettings
folder = Path(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start, cpu = time.perf_counter(), time.process_time()
images = AnnotatedImages([folder / "masks.json"], folder, DataSettings())
seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(f"{len(images)} images: {seconds:.1f} s ({cpu:.1f} s CPU), peak memory {peak / 1024:.0f} MiB"
      f" ({(peak - before) / 1024:.0f} MiB of them while opening)")
"""


def bench_index(count: int) -> None:
    rng = np.random.default_rng(0)
    masks = [encode(blob(rng)) for _ in range(200)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "masks.json")
        write_annotations(path, count // PER_IMAGE, PER_IMAGE, masks)
        Path(folder, "0000001.jpg").touch()
        print(f"{count} masks, {path.stat().st_size / 2**20:.0f} MiB of JSON")
        for _ in range(2):  # the first may compile kernels
            subprocess.run([sys.executable, "-c", OPEN, folder], check=True)


def bench_samples(runs: int) -> None:
    from unsam_cli.training.dataset import AnnotatedImages
    from unsam_cli.training.samples import make_sample

    rng = np.random.default_rng(0)
    masks = [encode(blob(rng)) for _ in range(500)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "masks.json")
        write_annotations(path, 1, 500, masks)
        noise = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        Image.fromarray(noise).resize(SIZE[::-1]).save(Path(folder, "0000001.jpg"), quality=85)
        for name, settings in {
            "crop": DataSettings(),
            "jitter": DataSettings(jitter=(0.1, 2.0)),
            "copy-paste": DataSettings(copy_paste=1.0),
        }.items():
            images = AnnotatedImages([path], Path(folder), settings)
            make_sample(images, 0, 0, settings)
            start = time.process_time()
            found = [len(make_sample(images, 0, seed, settings).masks) for seed in range(runs)]
            seconds = (time.process_time() - start) / runs
            print(f"{name:>10}: {seconds:.3f} s CPU a sample, {np.mean(found):.0f} masks in view")


def bench_losses(queries: int, masks: int, layers: int) -> None:
    import torch

    from unsam_cli.models.predictions import Predictions
    from unsam_cli.training.bitmasks import BitMasks
    from unsam_cli.training.criterion import set_losses

    rng = np.random.default_rng(0)
    g = torch.Generator().manual_seed(0)
    targets = BitMasks.pack((blob(rng, (1024, 1024)) for _ in range(masks)), (1024, 1024))
    predictions = Predictions(
        torch.randn(layers, 1, queries, 2, generator=g).requires_grad_(),
        torch.randn(layers, 1, queries, 256, generator=g).mul(0.1).requires_grad_(),
        torch.randn(1, 256, 256, 256, generator=g).requires_grad_(),
    )
    start = time.process_time()
    losses = set_losses(predictions, [targets], [0], torch.ones(2), LossSettings())
    middle = time.process_time()
    losses.sum().backward()  # type: ignore[no-untyped-call]
    end = time.process_time()
    print(
        f"{queries} queries, {masks} masks, {layers} layers: {middle - start:.1f} s CPU forward, "
        f"{end - middle:.1f} s backward"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--index", type=int, nargs="?", const=1_000_000, metavar="MASKS")
    parser.add_argument("--samples", type=int, nargs="?", const=10, metavar="RUNS")
    parser.add_argument("--losses", action="store_true")
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--masks", type=int, default=100)
    parser.add_argument("--layers", type=int, default=10)
    options = parser.parse_args()
    if options.index:
        bench_index(options.index)
    if options.samples:
        bench_samples(options.samples)
    if options.losses:
        bench_losses(options.queries, options.masks, options.layers)


if __name__ == "__main__":
    main()
