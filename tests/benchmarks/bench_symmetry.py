"""How alike the masks of a photograph are that is turned or mirrored: 1 if nothing goes by scans.

Usage: ``python tests/benchmarks/bench_symmetry.py [--images DIR] [--limit N]``

Prints, for each photograph and each way, the mean best IoU of its 50 best masks with the 50 best of
the turned one, turned back. Without ``--images`` it takes photographs of scikit-image.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import skimage
from bench_quality import segment

from unsam_cli.backbones.registry import create_backbone
from unsam_cli.conquer.settings import ConquerSettings
from unsam_cli.io.images import read_image
from unsam_cli.rle import decode, encode, iou

sys.path.insert(0, str(Path(__file__).parents[1]))
from support import SYMMETRIES

PHOTOS = ("coffee.png", "astronaut.png", "chelsea.png", "rocket.jpg", "motorcycle_left.png")
BEST = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--limit", type=int, default=5, help="this many images, evenly spread")
    options = parser.parse_args()
    paths = [Path(skimage.__file__).parent / "data" / name for name in PHOTOS]
    if options.images:
        paths = sorted(options.images.rglob("*.*"))
    paths = paths[:: max(1, len(paths) // options.limit)][: options.limit]
    backbone, settings = create_backbone("builtin"), ConquerSettings()
    everything: list[float] = []
    for path in paths:
        rgb = read_image(path)
        upright = [mask.rle for mask in segment(backbone, rgb, settings)[:BEST]]
        means: list[float] = []
        for there, back in SYMMETRIES.values():
            turned = segment(backbone, there(rgb), settings)[:BEST]
            again = [encode(back(decode(mask.rle))) for mask in turned]
            means.append(iou(upright, again).max(axis=1).mean())
        everything += means
        found = "  ".join(f"{k} {v:.3f}" for k, v in zip(SYMMETRIES, means, strict=True))
        print(f"{path.name}: {found}", flush=True)
    print(f"least {min(everything):.3f}, mean {np.mean(everything):.3f}")


if __name__ == "__main__":
    main()
