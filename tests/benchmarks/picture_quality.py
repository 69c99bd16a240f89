"""A picture of what the built-in backbone finds beside a classic, on photographs of scikit-image.

Usage: ``python tests/benchmarks/picture_quality.py OUTPUT.png``

Each row: the photograph, Felzenszwalb's segments at the scale that gives about as many of them, and
the best masks of `unsam`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import skimage
from bench_quality import segment
from numpy.typing import NDArray
from PIL import Image
from skimage.segmentation import felzenszwalb

from unsam_cli.backbones.base import Backbone
from unsam_cli.backbones.registry import create_backbone
from unsam_cli.conquer.settings import ConquerSettings
from unsam_cli.io.images import read_image
from unsam_cli.rle import Rle, area, decode, encode

PHOTOS = ("coffee.png", "astronaut.png", "rocket.jpg", "chelsea.png")
MASKS = 50
HEIGHT, GAP = 300, 6


def classic(rgb: NDArray[np.uint8]) -> list[Rle]:
    """Segments at the scale that gives the number of masks nearest to MASKS."""
    tries = [felzenszwalb(rgb, scale, 0.8, 50) for scale in np.geomspace(50, 5000, 15)]
    labels = min(tries, key=lambda found: abs(len(np.unique(found)) - MASKS))
    return [encode(labels == k) for k in np.unique(labels)]


def paint(rgb: NDArray[np.uint8], rles: list[Rle]) -> NDArray[np.uint8]:
    """Masks in random colours, smaller ones over larger ones, with white borders."""
    labels = np.zeros(rgb.shape[:2], np.int64)
    for k, rle in enumerate(sorted(rles, key=lambda rle: -area([rle])[0]), start=1):
        labels[decode(rle)] = k
    colours = np.random.default_rng(0).integers(30, 226, (len(rles) + 1, 3))
    out: NDArray[np.int64] = (rgb + colours[labels]) // 2
    out[1:][labels[1:] != labels[:-1]] = 255
    out[:, 1:][labels[:, 1:] != labels[:, :-1]] = 255
    return out.astype(np.uint8)


def panels(name: str, backbone: Backbone) -> list[Image.Image]:
    """One photograph and both results, side by side."""
    rgb = read_image(Path(skimage.__file__).parent / "data" / name)
    ours = segment(backbone, rgb, ConquerSettings(max_masks=MASKS))
    drawn = [rgb, paint(rgb, classic(rgb)), paint(rgb, [mask.rle for mask in ours])]
    size = round(rgb.shape[1] * HEIGHT / rgb.shape[0]), HEIGHT
    return [Image.fromarray(picture).resize(size) for picture in drawn]


def main() -> None:
    backbone = create_backbone("builtin")
    rows = [panels(name, backbone) for name in PHOTOS]
    widest = max(row[0].width for row in rows)
    sheet = Image.new("RGB", (3 * (widest + GAP), len(rows) * (HEIGHT + GAP)), "white")
    for y, row in enumerate(rows):
        for x, panel in enumerate(row):
            sheet.paste(panel, (x * (widest + GAP), y * (HEIGHT + GAP)))
    sheet.quantize(128).save(sys.argv[1], optimize=True)


if __name__ == "__main__":
    main()
