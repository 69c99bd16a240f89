"""Small scenes as COCO files, and pycocotools as the oracle."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as cocomask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from unsam_cli.evaluation.sets import PredictionSet, TruthSet
from unsam_cli.rle import RunTable

SIZES = ("all", "small", "medium", "large")


def encode(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Compressed RLE with text counts."""
    rle = cocomask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(map(int, rle["size"])), "counts": rle["counts"].decode()}


def box(x: int, y: int, w: int, h: int, *, height: int = 200, width: int = 200) -> dict[str, Any]:
    """Mask of a rectangle."""
    mask = np.zeros((height, width), dtype=bool)
    mask[y : y + h, x : x + w] = True
    return encode(mask)


@dataclass
class Scene:
    """A ground truth and predictions, built one mask at a time."""

    images: list[dict[str, Any]] = field(default_factory=list)
    truth: list[dict[str, Any]] = field(default_factory=list)
    found: list[dict[str, Any]] = field(default_factory=list)

    def image(self, *, height: int = 200, width: int = 200, name: str | None = None) -> int:
        number = len(self.images) + 1
        name = name or f"{number}.png"
        self.images.append({"id": number, "height": height, "width": width, "file_name": name})
        return number

    def add_truth(self, image: int, mask: Any, **keys: Any) -> int:
        entry: dict[str, Any] = {
            "id": len(self.truth) + 1,
            "image_id": image,
            "category_id": 1,
            "iscrowd": 0,
        }
        entry |= {"segmentation": mask, "area": area_of(mask), "bbox": [0, 0, 1, 1]}
        self.truth.append(entry | keys)
        return int(entry["id"])

    def add_found(self, image: int, mask: Any, score: float, **keys: Any) -> None:
        entry = {"image_id": image, "category_id": 1, "segmentation": mask, "score": score}
        self.found.append(entry | keys)

    def truth_object(self) -> dict[str, Any]:
        categories = sorted({a["category_id"] for a in self.truth} | {1})
        return {
            "images": self.images,
            "annotations": self.truth,
            "categories": [{"id": c, "name": str(c)} for c in categories],
        }

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write gt.json and dt.json."""
        truth, found = folder / "gt.json", folder / "dt.json"
        truth.write_text(json.dumps(self.truth_object()))
        found.write_text(json.dumps(self.found))
        return truth, found


def area_of(mask: Any) -> int:
    if isinstance(mask, list):
        return int(cocomask.area(cocomask.merge(cocomask.frPyObjects(mask, 200, 200))))
    if isinstance(mask["counts"], list):
        return int(sum(mask["counts"][1::2]))
    return int(cocomask.area(mask))


def sets_of(scene: Scene, image_id: int) -> tuple[TruthSet, PredictionSet]:
    """Masks of one image, as they are matched."""
    truth = [a for a in scene.truth if a["image_id"] == image_id]
    found = [a for a in scene.found if a["image_id"] == image_id]
    found.sort(key=lambda a: -float(a["score"]))
    tables = [
        RunTable.from_rles([a["segmentation"] for a in rows], size=(200, 200))
        for rows in (truth, found)
    ]
    return (
        TruthSet(
            table=tables[0],
            areas=np.array([a["area"] for a in truth], dtype=np.float64),
            crowd=np.array([a["iscrowd"] for a in truth], dtype=bool),
            values=[None] * len(truth),
        ),
        PredictionSet(
            table=tables[1],
            scores=np.array([a["score"] for a in found], dtype=np.float64),
            total=len(found),
            category_zero=0,
        ),
    )


def evaluated(scene: Scene, max_dets: tuple[int, ...] = (1, 10, 100, 1000)) -> COCOeval:
    """The evaluation of pycocotools, up to the matches of every image."""
    truth, found = COCO(), copy.deepcopy(scene.found)
    for entry in found:
        entry.pop("bbox", None)  # makes pycocotools go by the areas of boxes
        if isinstance(entry["segmentation"], list):  # which it does not read in results
            parts = cocomask.frPyObjects(entry["segmentation"], 200, 200)
            entry["segmentation"] = cocomask.merge(parts)
    with contextlib.redirect_stdout(io.StringIO()):
        truth.dataset = copy.deepcopy(scene.truth_object())
        truth.createIndex()
        if found:
            results = truth.loadRes(found)
        else:
            results = COCO()
            results.dataset = {"images": scene.images, "annotations": []}
            results.createIndex()
        e = COCOeval(truth, results, "segm")
        e.params.useCats, e.params.maxDets = 0, list(max_dets)
        e.evaluate()
    return e


def oracle(scene: Scene, max_dets: tuple[int, ...] = (1, 10, 100, 1000)) -> dict[str, float | None]:
    """Every metric by pycocotools; None where it says -1."""
    e = evaluated(scene, max_dets)
    with contextlib.redirect_stdout(io.StringIO()):
        e.accumulate()
    precision, recall = e.eval["precision"][:, :, 0], e.eval["recall"][:, 0]

    def mean(values: NDArray[np.float64]) -> float | None:
        values = values[values > -1]
        return float(np.mean(values)) if values.size else None

    metrics = {"AP": mean(precision[:, :, 0, -1])}
    metrics |= {"AP50": mean(precision[0, :, 0, -1]), "AP75": mean(precision[5, :, 0, -1])}
    metrics |= {f"AP-{s}": mean(precision[:, :, a, -1]) for a, s in enumerate(SIZES) if a}
    metrics |= {f"AR@{k}": mean(recall[:, 0, m]) for m, k in enumerate(max_dets)}
    most = max_dets[-1]
    metrics |= {f"AR@{most}-{s}": mean(recall[:, a, -1]) for a, s in enumerate(SIZES) if a}
    return metrics


def random_scene(
    seed: int, *, images: int = 4, truths: int = 8, found: int = 30, scores: int = 12
) -> Scene:
    """Overlapping rectangles and ellipses; few different scores, so that there are many ties."""
    rng = np.random.default_rng(seed)
    scene = Scene()
    y, x = np.mgrid[:200, :200]
    for _ in range(images):
        image = scene.image()
        masks = []
        for _ in range(rng.integers(0, truths + 1)):
            w, h = rng.integers(2, 150, 2)
            cx, cy = rng.integers(0, 200, 2)
            inside = ((x - cx) / w) ** 2 + ((y - cy) / h) ** 2 < 0.25
            square = (abs(x - cx) < w / 2) & (abs(y - cy) < h / 2)
            masks.append(inside if rng.random() < 0.5 else square)
            crowd = int(rng.random() < 0.15)
            scene.add_truth(
                image, encode(masks[-1]), iscrowd=crowd, category_id=int(rng.integers(1, 4))
            )
        for _ in range(rng.integers(0, found + 1)):
            mask = masks[rng.integers(len(masks))] if masks else y < 50
            mask = np.roll(mask, rng.integers(-6, 7, 2), (0, 1))
            mask = mask & (rng.random(mask.shape) < 0.98) if rng.random() < 0.3 else mask
            scene.add_found(image, encode(mask), float(rng.integers(scores)) / scores)
    return scene
