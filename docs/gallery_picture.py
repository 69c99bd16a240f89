"""Draw ``docs/images/gallery.png``: photographs, their best masks, and their coarse masks.

``python docs/gallery_picture.py MASKS.json IMAGES_DIR``, after ``make demo``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import unsam_cli as unsam

WIDTH = 250
BEST = 30
COARSE = 0.5


def panel(picture: Image.Image) -> NDArray[np.uint8]:
    """Return a picture that is `WIDTH` pixels wide."""
    height = round(picture.height * WIDTH / picture.width)
    return np.asarray(picture.convert("RGB").resize((WIDTH, height)))


def main() -> None:
    """Write the picture: a row per photograph."""
    rows = []
    for masks in unsam.read(sys.argv[1], images=sys.argv[2]):
        best = masks.filter(nms_iou=0.5, max_masks=BEST).draw()
        pictures = [Image.fromarray(masks.pixels), best, masks.at(COARSE).draw()]
        rows.append(np.concatenate(list(map(panel, pictures)), axis=1))
    target = Path(__file__).parent / "images" / "gallery.png"
    Image.fromarray(np.concatenate(rows)).quantize(192).save(target, optimize=True)


if __name__ == "__main__":
    main()
