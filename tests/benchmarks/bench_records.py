"""Features files of many records: ``python tests/benchmarks/bench_records.py [FEW MANY]``.

Opening a file, and reading records of images at random, with few records and with many.
"""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import repeat
from pathlib import Path

import numpy as np

from unsam_cli.io.features import FeatureAttributes, FeatureFile, ImageEntry, RegionEntry
from unsam_cli.io.features_writer import Described, FeatureTotals, write_features

EACH = 10  # records of an image
GRID = (4, 4)
DIM = 64
READS = 500
ATTRIBUTES = FeatureAttributes("none", "none", "key", -1, 8, DIM, 0, 0, "none", "none")


def described(images: int) -> Iterator[Described]:
    """Yield images with their records; half of these have a mask."""
    for i in range(1, images + 1):
        masks = [b"" if k % 2 else b"T1o2" for k in range(EACH)]
        regions = [RegionEntry((0, 0, 32, 24), mask, 1.0, GRID) for mask in masks]
        yield ImageEntry(i, f"{i // 1000:03d}/{i:08d}.jpg", 24, 32), regions


def timed(function: Callable[[], object]) -> float:
    """Return the milliseconds that a call takes."""
    begin = time.perf_counter()
    function()
    return 1e3 * (time.perf_counter() - begin)


def measure(path: Path, records: int) -> dict[str, float]:
    """Write a file and read it."""
    images = records // EACH
    patches = records * GRID[0] * GRID[1]
    totals = FeatureTotals(images, records, patches, DIM, "float16")
    block = bytes(2 * DIM * GRID[0] * GRID[1])
    rng = np.random.default_rng(0)
    found = {
        "write, us a record": timed(
            lambda: write_features(
                path, ATTRIBUTES, totals, described(images), repeat(block, records)
            )
        )
        * 1e3
        / records,
        "open, ms": statistics.median(timed(lambda: FeatureFile(path).close()) for _ in range(3)),
    }
    with FeatureFile(path) as file:
        some = rng.integers(0, images, READS).tolist()
        found["all names, ms"] = timed(file.file_names)
        found["what an image's records cover, ms"] = statistics.median(
            timed(partial(file.regions, i)) for i in some
        )
        found["features of a record, ms"] = statistics.median(
            timed(partial(file.rows, i * EACH)) for i in some
        )
    found["peak memory, MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


def main() -> None:
    """Print a row for each kind of access."""
    few, many = map(int, sys.argv[1:3] or (1000, 1_000_000))
    columns = []
    for count in (few, many):
        with tempfile.TemporaryDirectory() as name:
            columns.append(measure(Path(name) / "features.h5", count))
    print(f"| | {few} records | {many} | ratio |\n|---|---|---|---|")
    for what, value in columns[0].items():
        more = columns[1][what]
        print(f"| {what} | {value:.3g} | {more:.3g} | {more / value:.2g} |")


if __name__ == "__main__":
    main()
