"""Processor time and bytes an image of each stage, and what that makes for many images.

``python tests/benchmarks/bench_stages.py [--images DIR] [--count N] [-- OPTIONS]``: the options are
those of extract-features.

Processor time (user and system, one thread of work) is less disturbed by other work than time on
the wall. Start-up does not count: a run on one image is subtracted from one on N.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import skimage

from unsam_cli.run.inputs import ImageQuery, list_images

MANY = {"0.4 M": 0.4e6, "11 M": 11e6}
PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def run(folder: Path, *arguments: str) -> float:
    """Run a command and return its processor time in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    program = [sys.executable, "-m", "unsam_cli", *arguments, "--jobs", "1", "-q"]
    subprocess.run(
        program, check=True, cwd=folder, env={**os.environ, **dict.fromkeys(THREADS, "1")}
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def pipeline(folder: Path, options: list[str]) -> dict[str, tuple[float, int]]:
    """Return seconds and bytes of each stage for the images that a list names."""
    extract = ("extract-features", "@list.txt", *options)
    stages = {
        "extract-features": (*extract, "-o", "features.h5"),
        "divide": ("divide", "features.h5", "-o", "objects.json"),
        "extract-features --regions": (
            *(*extract, "--regions", "objects.json"),
            *("--whole-image", "-o", "regions.h5"),
        ),
        "conquer": ("conquer", "regions.h5", "-o", "masks.json"),
    }
    return {
        name: (run(folder, *words), (folder / words[-1]).stat().st_size)
        for name, words in stages.items()
    }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, help="a folder; default: scikit-image's photographs")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("options", nargs="*", help="of extract-features")
    given = parser.parse_args()
    data = Path(skimage.__file__).parent / "data"
    named = [given.images] if given.images else [data / name for name in PHOTOGRAPHS]
    images = [i.path.absolute() for i in list_images(ImageQuery(tuple(map(str, named))))]
    images = images[:: max(len(images) // given.count, 1)][: given.count]
    found = []
    with tempfile.TemporaryDirectory() as name:
        for part in (images[:1], images[:1], images):  # the first warms caches
            Path(name, "list.txt").write_text("".join(f"{path}\n" for path in part))
            found.append(pipeline(Path(name), given.options))
    few, many = found[1:]
    print(f"{len(images)} images, load of the machine {os.getloadavg()[1]:.1f}")
    for stage in many:
        seconds, size = ((many[stage][i] - few[stage][i]) / (len(images) - 1) for i in (0, 1))
        rest = [
            f"{n}: {seconds * c / 3600:,.0f} h, {size * c / 1e12:.2f} TB" for n, c in MANY.items()
        ]
        print(f"{stage:28} {seconds:7.2f} s {size / 1e6:8.2f} MB   {'   '.join(rest)}")


if __name__ == "__main__":
    main()
