"""Reading and writing masks files against the standard library.

    python tests/benchmarks/bench_json.py [--annotations 200000] [--runs 3]

Ours and ``json.load`` or ``json.dump`` of the same values take turns in one process. Ours keeps but
the place of every record and reads image by image: as parsed records, or as checked masks. The peak
memory is that of a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from bench_merge_shards import PER_IMAGE, annotations_of, image

from unsam_cli.io.masks import read_masks
from unsam_cli.io.masks_writer import number_annotations, write_masks

PEAK = """
import json, sys
from pathlib import Path
from unsam_cli.io.masks import read_masks
path = Path(sys.argv[2])
if sys.argv[1] == "json":
    json.load(path.open())
else:
    masks = read_masks(path)
    for image_id in masks.image_ids:
        masks.annotations_of(image_id)
status = Path("/proc/self/status").read_text()  # what getrusage tells includes the parent's
print(1024 * int(status.split("VmHWM:")[1].split()[0]))
"""


def read_records(path: Path) -> int:
    masks = read_masks(path)
    return sum(len(masks.records_of(i)) for i in masks.image_ids)


def read_checked(path: Path) -> int:
    masks = read_masks(path)
    return sum(len(masks.annotations_of(i)) for i in masks.image_ids)


def read_json(path: Path) -> int:
    with path.open() as stream:
        return len(json.load(stream)["annotations"])


def write_ours(path: Path, images: int) -> None:
    ids = range(1, images + 1)
    with path.open("wb") as stream:
        write_masks(
            stream, "coco", history=[], images=map(image, ids), groups=map(annotations_of, ids)
        )


def write_json(path: Path, images: int) -> None:
    ids = range(1, images + 1)
    value: dict[str, Any] = {"info": {}, "categories": [], "images": list(map(image, ids))}
    value["annotations"] = list(number_annotations(map(annotations_of, ids)))
    with path.open("w") as stream:
        json.dump(value, stream)


def compare(title: str, runs: int, ways: dict[str, Callable[[], object]]) -> None:
    """Print medians, and the ratio of the last way to each of the others."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():  # what is compiled is compiled now
        way()
    for _ in range(runs):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - start)
    *ours, base = times
    for name in ours:
        ratios = sorted(b / a for a, b in zip(times[name], times[base], strict=True))
        print(
            f"{title} {name:16s} {median(times[name]):6.2f} s   {base} {median(times[base]):6.2f} s"
            f"   ratio {median(ratios):5.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )


def main() -> None:
    """Print times, ratios, and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--annotations", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    images = given.annotations // PER_IMAGE
    with tempfile.TemporaryDirectory() as name:
        ours, plain = Path(name, "ours.json"), Path(name, "plain.json")
        write: dict[str, Callable[[], object]] = {
            "unsam": lambda: write_ours(ours, images),
            "json.dump": lambda: write_json(plain, images),
        }
        compare("write", given.runs, write)
        print(f"{given.annotations} annotations, {ours.stat().st_size / 2**20:.0f} MiB")
        for path, form in ((ours, "a line each"), (plain, "one line")):
            read: dict[str, Callable[[], object]] = {
                "unsam, records": partial(read_records, path),
                "unsam, checked": partial(read_checked, path),
                "json.load": partial(read_json, path),
            }
            compare(f"read, {form}:", given.runs, read)
        for way in ("unsam", "json"):
            command = [sys.executable, "-c", PEAK, way, str(ours)]
            ran = subprocess.run(command, check=True, capture_output=True)
            print(f"{way}: peak memory {int(ran.stdout) / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
