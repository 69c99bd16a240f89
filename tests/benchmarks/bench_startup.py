"""Start-up of the program against a bare ``import click``, and the whole pipe on one photograph.

``python tests/benchmarks/bench_startup.py [--image FILE] [--repeat N]``
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

UNSAM = f"'{sys.executable}' -m unsam_cli"
PIPE = (
    "set -o pipefail; {u} extract-features -q '{i}' | {u} divide -q"
    " | {u} extract-features -q '{i}' --regions - --whole-image | {u} conquer -q > /dev/null"
)


def seconds(command: list[str], cwd: str) -> float:
    """Return the wall-clock seconds of one run."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=cwd)
    return time.perf_counter() - start


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", type=Path, help="a photograph; default: skimage's motorcycle")
    parser.add_argument("--repeat", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pairs: dict[str, list[float]] = {
            "import click": [],
            "unsam --help": [],
            "unsam divide --help": [],
        }
        for _ in range(options.repeat):
            pairs["import click"].append(seconds([sys.executable, "-c", "import click"], folder))
            for name in list(pairs)[1:]:
                words = name.split()[1:]
                run = [sys.executable, "-m", "unsam_cli", *words]
                pairs[name].append(seconds(run, folder))
        base = statistics.median(pairs["import click"])
        for name, times in pairs.items():
            median = statistics.median(times)
            print(f"{name:24} {median * 1e3:7.0f} ms  {median / base:5.2f} x import click")
        image = photograph(options.image, Path(folder))
        line = PIPE.format(u=UNSAM, i=image)
        times = [seconds(["bash", "-c", line], folder) for _ in range(options.repeat)]
        print(
            f"pipe of four on {image.name}: first {times[0]:.2f} s, then "
            f"median {statistics.median(times[1:]):.2f} s (caches warm)"
        )


def photograph(path: Path | None, folder: Path) -> Path:
    """Return a photograph of 640 x 480 pixels."""
    from PIL import Image

    if path is None:
        import skimage

        path = Path(skimage.__file__).parent / "data" / "motorcycle_left.png"
    target = folder / "photo.jpg"
    Image.open(path).convert("RGB").resize((640, 480)).save(target, quality=92)
    return target


if __name__ == "__main__":
    main()
