"""Draw ``docs/images/levels.png``: a photograph with its masks at three depths of the hierarchy.

``python docs/levels_picture.py MASKS.json IMAGES_DIR FILE_NAME``, after ``make demo``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from unsam_cli.io.images import read_image
from unsam_cli.io.masks import read_masks
from unsam_cli.io.names import Pictures
from unsam_cli.view.overlays import draw_overlay

DEPTHS = (3, 6, 10)
HEIGHT = 300


def main() -> None:
    """Write the picture."""
    masks, folder, name = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    found = next(m for m in read_masks(masks).image_masks() if m.image["file_name"] == name)
    rgb = read_image(Pictures(folder).find(name))
    panels = [rgb, *(draw_overlay(rgb, found.annotations, depth=depth) for depth in DEPTHS)]
    width = round(HEIGHT * rgb.shape[1] / rgb.shape[0])
    small = [np.asarray(Image.fromarray(p).resize((width, HEIGHT))) for p in panels]
    target = Path(__file__).parent / "images" / "levels.png"
    target.parent.mkdir(exist_ok=True)
    picture = Image.fromarray(np.concatenate(small, axis=1))
    picture.quantize(192).save(target, optimize=True)


if __name__ == "__main__":
    main()
