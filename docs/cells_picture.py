"""Draw ``docs/images/cells.png``: a picture, its pseudo-masks, and the masks of the network.

``python docs/cells_picture.py CELLS``, after the commands of ``docs/own-images.md`` in that folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unsam_cli.io.images import read_image
from unsam_cli.io.masks import read_masks
from unsam_cli.view.overlays import draw_overlay

NAMES = ("01.png", "03.png")
BEST = 60  # masks that are drawn of each kind, those of the highest score


def main() -> None:
    """Write the picture: a row per image."""
    folder = Path(sys.argv[1])
    kinds = [read_masks(folder / name) for name in ("pseudo/masks.json", "others-found.json")]
    rows = []
    for name in NAMES:
        rgb = read_image(folder / "others" / name)
        panels: list[NDArray[np.uint8]] = [rgb]
        for found in kinds:
            masks = next(m for m in found.image_masks() if m.image["file_name"] == name)
            best = sorted(masks.annotations, key=lambda a: -(a.score or 0))[:BEST]
            sure = [a for a in best if found is kinds[0] or (a.score or 0) >= 0.3]
            panels.append(draw_overlay(rgb, sure))
        rows.append(np.concatenate(panels, axis=1))
    picture = Image.fromarray(np.concatenate(rows))
    picture.quantize(192).save(Path(__file__).parent / "images" / "cells.png", optimize=True)


if __name__ == "__main__":
    main()
