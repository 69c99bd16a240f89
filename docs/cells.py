"""Draw pictures of cell nuclei as a fluorescence microscope shows them, to try the tutorial on.

``python docs/cells.py OUT [60 [20]]`` writes ``OUT/photos`` (60 pictures, 256 x 256),
``OUT/others`` (20 more), and ``OUT/others.json`` with the masks of the others, to measure on.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from unsam_cli.rle import area, boxes, encode

SIDE = 256
_LEAST = 24  # visible pixels of a nucleus that counts


def nuclei(rng: np.random.Generator) -> list[NDArray[np.bool_]]:
    """Draw outlines, some of which touch or overlap; each (256, 256) bool."""
    y, x = np.mgrid[:SIDE, :SIDE]
    size = rng.uniform(7, 16)
    found = []
    for _ in range(rng.integers(8, 30)):
        centre = rng.uniform(0, SIDE, 2)
        for _ in range(rng.choice([1, 1, 1, 2, 3])):  # neighbours touch
            long, short = size * rng.uniform(0.7, 1.4, 2)
            turn, wave = rng.uniform(0, np.pi, 2)
            dy, dx = y - centre[0], x - centre[1]
            along, across = (
                dx * np.cos(turn) + dy * np.sin(turn),
                dy * np.cos(turn) - dx * np.sin(turn),
            )
            bumps = 1 + 0.1 * np.cos(3 * np.arctan2(across, along) + wave)
            found.append(np.hypot(along / long, across / short) < bumps)
            step = rng.uniform(0, 2 * np.pi)
            centre = centre + 1.8 * size * np.array([np.sin(step), np.cos(step)])
    return found


def photograph(
    masks: list[NDArray[np.bool_]], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], list[NDArray[np.bool_]]]:
    """Render nuclei, (256, 256, 3) uint8; returns the visible part of each, too."""
    light = np.full((SIDE, SIDE), rng.uniform(0.02, 0.1))
    light += gaussian_filter(rng.normal(size=light.shape), 60) * 3  # uneven illumination
    owner = np.full(light.shape, -1)
    for i, mask in enumerate(masks):
        grain = 1 + 3 * gaussian_filter(rng.normal(size=light.shape), 3)
        light = np.where(mask, rng.uniform(0.2, 0.8) * grain, light)
        owner[mask] = i
    light = gaussian_filter(light, rng.uniform(0.6, 1.6)) + rng.normal(size=light.shape) * 0.03
    grey = (255 * light.clip(0, 1) ** rng.uniform(0.7, 1.1)).astype(np.uint8)
    visible = [owner == i for i in range(len(masks))]
    return np.repeat(grey[..., None], 3, axis=2), [m for m in visible if m.sum() >= _LEAST]


def main() -> None:
    """Write pictures and masks."""
    out, rng = Path(sys.argv[1]), np.random.default_rng(0)
    counts = [*map(int, sys.argv[2:]), *(60, 20)[len(sys.argv) - 2 :]]
    truth: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": [], "categories": []}
    truth["categories"].append({"id": 1, "name": "entity"})
    for folder, count in zip(("photos", "others"), counts, strict=True):
        (out / folder).mkdir(parents=True, exist_ok=True)
        for number in range(1, count + 1):
            name = f"{number:02}.png"
            pixels, visible = photograph(nuclei(rng), rng)
            Image.fromarray(pixels).save(out / folder / name)
            if folder == "others":
                size = {"height": SIDE, "width": SIDE}
                truth["images"].append({"id": number, "file_name": name, **size})
                truth["annotations"] += [_annotation(number, mask) for mask in visible]
    for number, entry in enumerate(truth["annotations"], start=1):
        entry["id"] = number
    (out / "others.json").write_text(json.dumps(truth))


def _annotation(image: int, mask: NDArray[np.bool_]) -> dict[str, Any]:
    rle = encode(mask)
    text = {"size": rle["size"], "counts": rle["counts"].decode()}
    box, pixels = boxes([rle])[0].tolist(), int(area([rle])[0])
    common = {"image_id": image, "category_id": 1, "iscrowd": 0}
    return {**common, "segmentation": text, "area": pixels, "bbox": box}


if __name__ == "__main__":
    main()
