"""Cost of an image as images become many: ``python tests/benchmarks/bench_scale.py [FEW MANY]``.

Tiny pictures go through all stages on the CPU, as commands; each stage is told twice, for few
images and for many. What is flat costs the same for an image of both.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (48, 64)


def run(*arguments: object) -> tuple[float, float]:
    """Run a command; return seconds and peak resident MiB, and tell them at once."""
    begin = time.perf_counter()
    line = [sys.executable, "-m", "unsam_cli", *map(str, arguments), "-q"]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"exit code {process.returncode}: {' '.join(line)}")
    found = time.perf_counter() - begin, usage.ru_maxrss / 1024
    print(f"{arguments[0]}: {found[0]:.1f} s, {found[1]:.0f} MiB", file=sys.stderr)
    return found


def draw(folder: Path, count: int) -> None:
    """Write pictures of two coloured rectangles on noise."""
    rng = np.random.default_rng(0)
    for i in range(count):
        place = folder / f"{i // 1000:03d}"
        place.mkdir(parents=True, exist_ok=True)
        rgb = rng.integers(90, 110, (*SIZE, 3), dtype=np.uint8)
        for colour in rng.integers(0, 255, (2, 3)):
            y, x = rng.integers(0, SIZE[0] - 16), rng.integers(0, SIZE[1] - 16)
            rgb[y : y + 16, x : x + 16] = colour
        Image.fromarray(rgb).save(place / f"{i:06d}.png")


def stages(work: Path, count: int) -> dict[str, tuple[float, float]]:
    """Run everything; return seconds and MiB of each stage."""
    photos = work / "photos"
    draw(photos, count)
    features, objects, regions = work / "f.h5", work / "o.json", work / "r.h5"
    shards = [work / f"m{k}.json" for k in range(2)]
    masks = work / "masks.json"
    small = ["--size", 64]
    found = {
        "extract-features": run("extract-features", photos, *small, "-o", features),
        "divide": run("divide", features, "-o", objects),
        "extract-features --regions": run(
            "extract-features", photos, "--regions", objects, "--region-size", 64, "-o", regions
        ),
    }
    features.unlink()
    for k, shard in enumerate(shards):
        found[f"conquer, half {k}"] = run("conquer", regions, "--shard", f"{k}/2", "-o", shard)
    regions.unlink()
    found["merge"] = run("merge", *shards, "-o", masks)
    found["evaluate"] = run("evaluate", masks, masks)
    return found


def main() -> None:
    """Print a row for each stage."""
    few, many = map(int, sys.argv[1:3] or (200, 2000))
    tables = []
    for count in (few, many):
        with tempfile.TemporaryDirectory() as name:
            tables.append(stages(Path(name), count))
    print(f"| stage | ms an image, {few} | {many} | MiB, {few} | {many} |\n|---|---|---|---|---|")
    for stage, (seconds, memory) in tables[0].items():
        more, large = tables[1][stage]
        cells = f"{1e3 * seconds / few:.1f} | {1e3 * more / many:.1f} | {memory:.0f} | {large:.0f}"
        print(f"| {stage} | {cells} |")


if __name__ == "__main__":
    main()
