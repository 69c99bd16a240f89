"""Peak memory of divide and conquer as the number of images grows.

``python tests/benchmarks/bench_memory.py [--few 10] [--many 1000]``
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from unsam_cli.io.features import FeatureAttributes, ImageEntry, RegionEntry
from unsam_cli.io.features_writer import Described, FeatureTotals, write_features
from unsam_cli.io.previews import encode_preview

GRID, DIM, SIZE = (32, 32), 64, (240, 320)


def write_file(path: Path, count: int) -> None:
    """Write a features file of `count` images with smooth random features."""
    rng = np.random.default_rng(0)
    attributes = FeatureAttributes(
        "random", "none", "key", -1, 8, DIM, 0, 0, "bench", "0", [{"command": "bench"}]
    )
    preview = encode_preview(rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8))
    patches = GRID[0] * GRID[1]
    region = RegionEntry((0, 0, SIZE[1], SIZE[0]), b"", 1.0, GRID)

    def described() -> Iterator[Described]:
        for i in range(1, count + 1):
            yield ImageEntry(i, f"{i}.jpg", *SIZE, preview), [region]

    def chunks() -> Iterator[bytes]:
        for i in range(count):
            base = np.random.default_rng(i).normal(size=(8, DIM))
            labels = np.add.outer(np.arange(GRID[0]) // 8, np.arange(GRID[1]) // 6) % 8
            noise = rng.normal(0, 0.3, (*GRID, DIM))
            yield (base[labels] + noise).astype("<f2").tobytes()

    totals = FeatureTotals(count, count, count * patches, DIM, "float16")
    write_features(path, attributes, totals, described(), chunks())


def peak(command: str, features: Path, output: Path) -> int:
    """Return the peak memory of one run in bytes, as it reports it itself."""
    run = [sys.executable, "-m", "unsam_cli", command, str(features), "-o", str(output)]
    ran = subprocess.run([*run, "--log-json"], check=True, stderr=subprocess.PIPE)
    last: dict[str, int] = json.loads(ran.stderr.splitlines()[-1])
    return last["peak_memory_bytes"]


def main() -> None:
    """Print peak memory and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--few", type=int, default=10)
    parser.add_argument("--many", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        counts = (options.few, options.many)
        for count in counts:
            write_file(folder / f"{count}.h5", count)
        for command in ("divide", "conquer"):
            few, many = (peak(command, folder / f"{n}.h5", folder / "out.json") for n in counts)
            print(
                f"{command}: {few / 2**20:.0f} MiB at {counts[0]} images, "
                f"{many / 2**20:.0f} MiB at {counts[1]}: {many / few:.2f} x"
            )


if __name__ == "__main__":
    main()
