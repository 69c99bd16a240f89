"""A folder with a small file for each name that the documentation uses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sam_models import make_sam
from scipy.io import savemat
from segmenters import save_tiny
from support import draw_scene

Unsam = Callable[..., None]
HEIGHT, WIDTH = 320, 420
COCO = "masks val gt few sam unsam ours theirs predictions found"
DATASETS = (
    "annotations/instances_val2017",
    "lvis_v1_val",
    "annotations/entity_segmentation/entityv2_010203_entity_val_lr",
)


def fill(folder: Path, unsam: Unsam) -> None:
    """Make all files in `folder`, which is also the working folder; `unsam` runs a command."""
    (folder / "photos" / "more").mkdir(parents=True)
    scene = Image.fromarray(draw_scene(0, HEIGHT, WIDTH))
    for name in ("photo.jpg", "photos/1.jpg"):
        scene.save(folder / name)
    Image.fromarray(draw_scene(1)).save(folder / "photos/more/2.jpg")
    shutil.copytree(folder / "photos", folder / "images" / "val")
    unsam("run", "photos", "-o", "made", "--keep", "--no-report")
    for source in (*(folder / "made" / "stages").iterdir(), folder / "made" / "masks.json"):
        shutil.move(source, folder / source.name)
    shutil.rmtree(folder / "made")
    for name in COCO.split():
        if name != "masks":
            shutil.copy(folder / "masks.json", folder / f"{name}.json")
    unsam("convert", "--to", "results", "masks.json", "-o", "results.json")
    networks(folder)
    datasets(folder, unsam)


def networks(folder: Path) -> None:
    """Save networks with random weights."""
    for name in ("run", "runs/best"):
        save_tiny(folder / name)
    for name in ("sam", "facebook/sam-vit-base"):
        make_sam().save_pretrained(folder / name)


def datasets(folder: Path, unsam: Unsam) -> None:
    """Write the masks as the makers of datasets would."""
    masks = json.loads((folder / "masks.json").read_bytes())
    for name in DATASETS:
        _write(folder / f"{name}.json", masks)
    kinds = {"categories": [{"id": 1, "name": "mug", "supercategory": "OBJECT"}]}
    _write(folder / "paco_lvis_v1_val.json", masks | kinds)
    for form, name in (("sa1b", "sa_000020"), ("labelmap", "labels")):
        unsam("convert", "--to", form, "masks.json", "-o", name)
    (folder / "shards").mkdir()
    unsam("convert", "--to", "tsv", "masks.json", "--images", "photos", "-o", "shards/SAM-0.tsv")
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[40:200, 50:210] = 1
    _save(folder / "DAVIS/Annotations/480p/bike/00000.png", labels)
    place = folder / "ADE20K_2021_17_01/images/ADE/validation/street"
    _save(place / "ADE_val_00000001_seg.png", np.dstack([labels * 70, labels * 31, labels * 51]))
    cells = np.empty((1, 1), dtype=object)
    cells[0, 0] = {"Segmentation": labels.astype(np.uint16) + 1, "Boundaries": labels}
    drawn = folder / "BSDS500/data/groundTruth/val"
    drawn.mkdir(parents=True)
    savemat(drawn / "1.mat", {"groundTruth": cells})
    colours = np.dstack([labels * 200, labels, labels])
    _save(folder / "annotations/panoptic_val2017/1.png", colours)
    segment: dict[str, Any] = {"id": 200 + 256 + 65536, "category_id": 1, "iscrowd": 0, "area": 1}
    segment |= {"bbox": [0, 0, 1, 1]}
    entry = {"image_id": 1, "file_name": "1.png", "segments_info": [segment]}
    panoptic = {
        "images": masks["images"][:1],
        "annotations": [entry],
        "categories": [{"id": 1, "name": "person", "isthing": 1, "supercategory": "person"}],
    }
    _write(folder / "annotations/panoptic_val2017.json", panoptic)


def _write(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))


def _save(path: Path, pixels: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
