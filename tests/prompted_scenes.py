"""Pictures of things within things, with their masks, in memory or as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from unsam_cli.rle import Rle, encode

BoolArray = npt.NDArray[np.bool_]
COLOURS = ((210, 60, 50), (60, 80, 210), (240, 220, 70))
"""Of a whole, of its part, of the part's part."""


def nested_scene(seed: int, side: int = 128) -> tuple[npt.NDArray[np.uint8], list[BoolArray]]:
    """Draw two things, each with a part that has a part; their masks, whole by whole.

    Returns
    -------
    (side, side, 3) uint8, list of six (side, side) bool
    """
    rng = np.random.default_rng(seed)
    picture = np.full((side, side, 3), (70, 140, 70), dtype=np.float64)
    masks = []
    y, x = np.mgrid[:side, :side] + 0.5
    for left in (0, 1):
        radius = side * rng.uniform(0.18, 0.23)
        cx = side * (0.25 + 0.5 * left) + rng.uniform(-0.02, 0.02) * side
        cy = rng.uniform(radius, side - radius)
        for level, share in enumerate((1.0, 0.66, 0.36)):
            inside = np.maximum(abs(x - cx), abs(y - cy)) < radius * share
            if level % 2:
                inside = np.hypot(x - cx, y - cy) < radius * share
            picture[inside] = COLOURS[level]
            masks.append(inside)
    picture += rng.normal(0, 4, picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8), masks


GRANULARITY = (1.0, 0.55, 0.1)
"""Of a whole, of its part, of the part's part."""


def annotated_scene(image_id: int, masks: list[BoolArray], *, graded: bool) -> list[dict[str, Any]]:
    """Return the annotations of a nested scene."""
    found = []
    for i, mask in enumerate(masks):
        rle: Rle = encode(mask)
        found.append(
            {"id": 10 * image_id + i, "image_id": image_id, "category_id": 1, "iscrowd": 0}
            | {"segmentation": {"size": rle["size"], "counts": rle["counts"].decode()}}
            | {"area": int(mask.sum()), "bbox": [0, 0, 1, 1]}
            | ({"granularity": GRANULARITY[i % 3]} if graded else {})
        )
    return found


def write_nested(
    folder: Path, seeds: range, *, side: int = 128, graded: bool = True, name: str = "masks.json"
) -> Path:
    """Write nested scenes to ``images/`` and their masks to a COCO file."""
    (folder / "images").mkdir(exist_ok=True)
    found: dict[str, list[Any]] = {"images": [], "annotations": []}
    for i, seed in enumerate(seeds, start=1):
        picture, masks = nested_scene(seed, side)
        Image.fromarray(picture).save(folder / "images" / f"{seed}.png")
        entry = {"id": i, "file_name": f"{seed}.png", "height": side, "width": side}
        found["images"].append(entry)
        found["annotations"] += annotated_scene(i, masks, graded=graded)
    path = folder / name
    path.write_text(json.dumps(found | {"categories": [{"id": 1, "name": "entity"}]}))
    return path
