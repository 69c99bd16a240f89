"""Recall of masks against human annotations, with the built-in backbone and the default options.

Usage: ``python tests/benchmarks/bench_quality.py --images DIR --ground-truth JSON [--limit N]``

Runs extraction, division and conquest through the library, as the pipe of commands does, and
prints class-agnostic AR and AP over mask IoU 0.50:0.05:0.95.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unsam_cli.backbones.base import Backbone
from unsam_cli.backbones.registry import create_backbone, usual_size
from unsam_cli.conquer.conquer import conquer_image
from unsam_cli.conquer.settings import ConquerSettings
from unsam_cli.divide.maskcut import maskcut
from unsam_cli.divide.upsample import guide_filter, to_pixels
from unsam_cli.extraction.plan import plan_records
from unsam_cli.extraction.settings import PlanSettings
from unsam_cli.found_masks import FoundMasks
from unsam_cli.io.features import Record
from unsam_cli.io.images import read_image
from unsam_cli.io.previews import decode_preview, encode_preview
from unsam_cli.io.resizing import resize

Image = NDArray[np.uint8]


def extract(
    backbone: Backbone, rgb: Image, settings: PlanSettings, regions: Any = None
) -> list[Record]:
    """Records of one image, features rounded as they are stored."""
    height, width = rgb.shape[:2]
    plans = plan_records(
        height, width, patch_size=backbone.patch_size, settings=settings, regions=regions
    )
    records = []
    for plan in plans:
        x, y, w, h = plan.bbox
        pixels = resize(rgb[y : y + h, x : x + w], plan.size)
        features = backbone.extract(pixels[None])[0].astype(np.float16)
        records.append(Record(plan.bbox, plan.rle, plan.score, features))
    return records


def segment(backbone: Backbone, rgb: Image, settings: ConquerSettings) -> FoundMasks:
    """All masks of one image, by the four stages."""
    size = (rgb.shape[0], rgb.shape[1])
    preview = decode_preview(encode_preview(rgb))
    side = usual_size(backbone.name)
    [whole] = extract(backbone, rgb, PlanSettings(size=side))
    guide = guide_filter(preview, whole.features.shape)
    cuts = maskcut(whole.features.astype(np.float32))
    regions = [(to_pixels(cut, guide, size), cut.score) for cut in cuts]
    records = extract(backbone, rgb, PlanSettings(size=side, whole_image=True), regions)
    return conquer_image(records, preview, size, settings)


def evaluate(
    truth: dict[str, Any], results: list[dict[str, Any]], image_ids: set[int]
) -> dict[str, float]:
    """AP and AR as in COCO, one class, with up to 1000 masks an image."""
    from faster_coco_eval import COCO, COCOeval_faster

    images = [image for image in truth["images"] if image["id"] in image_ids]
    annotations = [
        {**one, "category_id": 1, "iscrowd": one.get("iscrowd", 0)}
        for one in truth["annotations"]
        if one["image_id"] in image_ids
    ]
    categories = [{"id": 1, "name": "entity"}]
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO({"images": images, "annotations": annotations, "categories": categories})
        run = COCOeval_faster(known, known.loadRes([dict(one) for one in results]), "segm")
        run.params.useCats = 0
        run.params.maxDets = [1, 100, 1000]
        run.evaluate()
        run.accumulate()
    recall = run.eval["recall"].mean(axis=0)[0]  # (areas, maxDets)
    precision = run.eval["precision"][:, :, 0, 0, 2]
    return {
        "AR@1000": recall[0, 2],
        "small": recall[1, 2],
        "medium": recall[2, 2],
        "large": recall[3, 2],
        "AR@100": recall[0, 1],
        "AP": precision[precision >= 0].mean(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--ground-truth", type=Path, required=True)
    parser.add_argument("--limit", type=int, help="this many images, evenly spread")
    options = parser.parse_args()
    truth = json.loads(options.ground_truth.read_text())
    images = truth["images"]
    if options.limit:
        images = images[:: max(1, len(images) // options.limit)][: options.limit]
    files = {path.name: path for path in sorted(options.images.rglob("*.*"))}
    backbone, settings = create_backbone("builtin"), ConquerSettings()
    results: list[dict[str, Any]] = []
    seconds: list[float] = []
    for image in images:
        rgb = read_image(files[Path(image["file_name"]).name])
        start = time.perf_counter()
        masks = segment(backbone, rgb, settings)
        seconds.append(time.perf_counter() - start)
        results += [
            {
                "image_id": image["id"],
                "category_id": 1,
                "score": mask.score,
                "segmentation": {**mask.rle, "counts": mask.rle["counts"].decode()},
            }
            for mask in masks
        ]
    metrics = evaluate(truth, results, {image["id"] for image in images})
    print("  ".join(f"{name} {value:.3f}" for name, value in metrics.items()))
    print(
        f"{len(images)} images, {len(results) / len(images):.0f} masks and "
        f"{np.median(seconds):.2f} s an image (median, one core)"
    )


if __name__ == "__main__":
    main()
