"""Merging shards: annotations a second against the standard library, and peak memory.

    python tests/benchmarks/bench_merge_shards.py [--annotations 200000] [--shards 4] [--runs 5]

The baseline is what one would write without us: load all shards with ``json``, sort the images,
renumber the annotations and their parents, dump. Both take turns in one process; the peak memory is
that of a process of its own, for these shards and for some of a tenth of their size.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from bench_evaluate import blobs

from unsam_cli.io.masks_writer import write_masks
from unsam_cli.run.merging import merge

PER_IMAGE, SIZE = 200, (480, 640)
PEAK = """
import sys
from pathlib import Path
from unsam_cli.run.merging import merge
merge([Path(p) for p in sys.argv[2:]], output=sys.argv[1])
status = Path("/proc/self/status").read_text()  # what getrusage tells includes the parent's
print(1024 * int(status.split("VmHWM:")[1].split()[0]))
"""


@cache
def masks() -> list[dict[str, Any]]:
    return blobs(np.random.default_rng(0), PER_IMAGE, SIZE)


def annotations_of(image_id: int) -> list[dict[str, Any]]:
    """Annotations as conquer writes them."""
    return [
        {
            "image_id": image_id,
            "category_id": 1,
            "iscrowd": 0,
            "area": 1000 + k,
            "bbox": [k, k, 40, 40],
            "segmentation": mask,
            "score": round(float(k / PER_IMAGE), 5),
            "stage": "conquer",
            "level": 0.5,
            "granularity": 0.25,
            "parent": k // 2 if k else None,
        }
        for k, mask in enumerate(masks())
    ]


def image(image_id: int) -> dict[str, Any]:
    return {"id": image_id, "file_name": f"{image_id}.jpg", "height": SIZE[0], "width": SIZE[1]}


def write_shards(folder: Path, count: int, shards: int) -> list[Path]:
    """Write shards of `count` annotations in all."""
    ids = range(1, count // PER_IMAGE + 1)
    paths = [folder / f"{count}.{k}.json" for k in range(shards)]
    for k, path in enumerate(paths):
        mine = ids[k::shards]
        with path.open("wb") as stream:
            write_masks(
                stream,
                "coco",
                history=[{"command": "bench"}],
                marks={"shard": f"{k}/{shards}"},
                images=map(image, mine),
                groups=map(annotations_of, mine),
            )
    return paths


def merge_by_hand(paths: list[Path], output: Path) -> None:
    """Merge with the standard library."""
    parts = [json.loads(path.read_text()) for path in paths]
    images = sorted((i for part in parts for i in part["images"]), key=lambda i: i["id"])
    groups: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in images}
    for part in parts:
        for row in part["annotations"]:
            groups[row["image_id"]].append(row)
    rows = [row for image in images for row in groups[image["id"]]]
    first = 1
    for group in groups.values():
        numbers = {row["id"]: n for n, row in enumerate(group, start=first)}
        for row in group:
            row["id"], row["parent_id"] = numbers[row["id"]], numbers.get(row["parent_id"])
        first += len(group)
    value = {"info": parts[0]["info"], "categories": parts[0]["categories"]}
    output.write_text(json.dumps(value | {"images": images, "annotations": rows}))


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def peak(paths: list[Path], output: Path) -> int:
    command = [sys.executable, "-c", PEAK, str(output), *map(str, paths)]
    return int(subprocess.run(command, check=True, capture_output=True).stdout)


def main() -> None:
    """Print annotations a second, the ratio, and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--annotations", type=int, default=200_000)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shards = write_shards(folder, given.annotations, given.shards)
        ours, hand = folder / "ours.json", folder / "hand.json"
        times: dict[str, list[float]] = {"unsam": [], "json": []}
        for _ in range(given.runs):
            times["unsam"].append(seconds(lambda: merge(shards, output=str(ours))))
            times["json"].append(seconds(lambda: merge_by_hand(shards, hand)))
        same = ("images", "annotations")
        one, other = (json.loads(path.read_text()) for path in (ours, hand))
        assert all(one[key] == other[key] for key in same)
        for way, spent in times.items():
            rate = given.annotations / median(spent)
            print(f"{way:6s} {median(spent):6.2f} s  {rate:9.0f} annotations/s")
        ratios = sorted(b / a for a, b in zip(times["unsam"], times["json"], strict=True))
        print(f"ratio {median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
        few = write_shards(folder, given.annotations // 10, given.shards)
        peaks = [peak(paths, ours) / 2**20 for paths in (few, shards)]
        sizes = [sum(p.stat().st_size for p in paths) / 2**20 for paths in (few, shards)]
        for size, most in zip(sizes, peaks, strict=True):
            print(f"{size:6.0f} MiB of shards: peak memory {most:.0f} MiB")


if __name__ == "__main__":
    main()
