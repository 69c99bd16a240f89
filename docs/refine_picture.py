"""Draw ``docs/images/refine.png``: masks before refinement, after ``guided`` and after ``crf``.

``python docs/refine_picture.py MASKS.json IMAGES ID...``; MASKS.json is best made with
``unsam conquer --refine none``. A row per mask.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unsam_cli.io.annotations import Annotation
from unsam_cli.io.images import read_image
from unsam_cli.io.masks import ImageMasks, read_masks
from unsam_cli.io.names import Pictures
from unsam_cli.refinement.crf import refine_crf
from unsam_cli.refinement.guided_masks import refine_guided
from unsam_cli.rle import Rle, RunTable
from unsam_cli.view.overlays import draw_overlay

SIDE = 180


def main() -> None:
    """Write the picture."""
    file, folder = read_masks(Path(sys.argv[1])), Path(sys.argv[2])
    wanted = list(map(int, sys.argv[3:]))
    places = {
        a.id: (found, a)
        for found in file.image_masks()
        for a in found.annotations
        if a.id in wanted
    }
    rows = [row(*places[number], folder) for number in wanted]
    picture = Image.fromarray(np.concatenate(rows))
    picture.quantize(192).save(Path(__file__).parent / "images" / "refine.png", optimize=True)


def row(found: ImageMasks, mask: Annotation, folder: Path) -> NDArray[np.uint8]:
    """Draw one mask three times, (180, 720, 3) uint8, after its part of the photograph."""
    rgb = read_image(Pictures(folder).find(found.image["file_name"]))
    table = RunTable.from_rles([mask.rle], size=rgb.shape[:2])
    refined = [refine_guided(rgb, table)[0], refine_crf(rgb, table, max_side=900)[0]]
    drawn = [
        draw_overlay(rgb, [replace(mask, rle=rle)]) for rle in (mask.rle, *refined) if _any(rle)
    ]
    drawn += [rgb] * (3 - len(drawn))  # a mask that is refined to nothing
    x, y, w, h = mask.bbox
    side = min(int(1.6 * max(w, h)) + 8, *rgb.shape[:2])
    left = int(np.clip(x + w / 2 - side / 2, 0, rgb.shape[1] - side))
    top = int(np.clip(y + h / 2 - side / 2, 0, rgb.shape[0] - side))
    parts = [Image.fromarray(p[top : top + side, left : left + side]) for p in (rgb, *drawn)]
    return np.concatenate([np.asarray(part.resize((SIDE, SIDE))) for part in parts], axis=1)


def _any(rle: Rle) -> bool:
    return len(RunTable.from_rles([rle]).areas.nonzero()[0]) > 0


if __name__ == "__main__":
    main()
