"""All of ``unsam conquer`` a region: reading, merging, masks, suppression, hierarchy, writing.

``python tests/benchmarks/bench_conquer.py [--images N] [--regions N]``

Prints milliseconds of CPU time a region without refinement, and those of the merge kernel alone on
the same grids in the same process.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from unsam_cli.conquer.merge import grid_edges, merge_tree
from unsam_cli.conquer.settings import ConquerSettings, Rule
from unsam_cli.conquer.stage import conquer
from unsam_cli.io.features import FeatureAttributes, ImageEntry, RegionEntry
from unsam_cli.io.features_writer import Described, FeatureTotals, write_features
from unsam_cli.run.provenance import Step
from unsam_cli.run.settings import RunSettings

GRID, DIM, SIZE = (32, 32), 768, (480, 640)


def features_of(seed: int) -> np.ndarray:
    """Return features like a network's: smooth within parts of parts, noisy, (32, 32, 768)."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(4, 4, DIM)).repeat(8, 0).repeat(8, 1)
    middle = rng.normal(size=(8, 8, DIM)).repeat(4, 0).repeat(4, 1)
    fine = rng.normal(size=(16, 16, DIM)).repeat(2, 0).repeat(2, 1)
    return coarse + 0.6 * middle + 0.4 * fine + 0.3 * rng.normal(size=(*GRID, DIM))


def write_file(path: Path, images: int, regions: int) -> None:
    """Write a features file with `regions` overlapping rectangles in each image."""
    attributes = FeatureAttributes("x", "none", "key", -1, 8, DIM, 0, 0, "bench", "0", [{}])

    def described() -> Iterator[Described]:
        for i in range(1, images + 1):
            boxes = [(20 * r, 15 * r, 400, 320) for r in range(regions)]
            yield (
                ImageEntry(i, f"{i}.jpg", *SIZE),
                [RegionEntry(box, b"", 1.0, GRID) for box in boxes],
            )

    patches = GRID[0] * GRID[1] * images * regions
    totals = FeatureTotals(images, images * regions, patches, DIM, "float16")
    chunks = (features_of(i).astype("<f2").tobytes() for i in range(images * regions))
    write_features(path, attributes, totals, described(), chunks)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--regions", type=int, default=4)
    options = parser.parse_args()
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as name:
        features, output = Path(name, "f.h5"), Path(name, "m.json")
        write_file(features, options.images, options.regions)
        edges = grid_edges(*GRID)
        grids = [features_of(i).reshape(-1, DIM).astype(np.float32) for i in range(4)]
        run = RunSettings(Step("conquer"), output=str(output), jobs=1)
        # These regions are tiles, which have no trees of coarser grids.
        usual = tuple(rule for rule in ConquerSettings().rules if rule.grid == 1.0)
        for rules in ((Rule(),), usual):
            settings = ConquerSettings(refine="none", rules=rules)
            whole, kernel = [], []
            for _ in range(6):
                start = time.process_time()
                conquer(str(features), settings, run, images=None)
                whole.append((time.process_time() - start) / (options.images * options.regions))
                start = time.process_time()
                for grid in grids:
                    merge_tree(grid, edges)
                kernel.append((time.process_time() - start) / len(grids))
            masks = output.read_bytes().count(b'"segmentation"') / options.images
            ms, one = (statistics.median(times[1:]) * 1e3 for times in (whole, kernel))
            print(
                f"32 x 32 x 768, {len(rules)} trees, {masks:.0f} masks an image: "
                f"{ms:.2f} ms a region; one merge is {one:.2f} ms"
            )


if __name__ == "__main__":
    main()
