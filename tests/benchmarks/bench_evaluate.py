"""Evaluation against pycocotools and faster-coco-eval, in time and memory.

    python tests/benchmarks/bench_evaluate.py [--data bsds500] [--images 12] [--per-image 1000]
    python tests/benchmarks/bench_evaluate.py --predictions 2000000

The first compares the three on the same files, read from disk, in one process; without --data the
ground truth is drawn. The second writes files of that many predictions, evaluates them in a process
of its own and prints its peak memory.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from pycocotools import mask as cocomask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy import ndimage

from unsam_cli.evaluation.settings import EvaluateSettings
from unsam_cli.evaluation.sinks import EvaluateOutputs
from unsam_cli.evaluation.stage import evaluate
from unsam_cli.run.provenance import Step
from unsam_cli.run.settings import RunSettings

MAX_DETS = (1, 10, 100, 1000)
Entry = dict[str, Any]


def encode(mask: np.ndarray) -> Entry:
    rle = cocomask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode()}


def blobs(rng: np.random.Generator, count: int, size: tuple[int, int] = (321, 481)) -> list[Entry]:
    """Smooth regions of many sizes."""
    masks: list[Entry] = []
    while len(masks) < count:
        field = ndimage.gaussian_filter(rng.normal(size=size), rng.choice([4, 8, 16, 32]))
        labels, n = ndimage.label(field > np.quantile(field, rng.uniform(0.4, 0.9)))
        masks += [encode(labels == i + 1) for i in range(n)]
    return masks[:count]


def drawn_truth(images: int, per_image: int) -> Entry:
    rng = np.random.default_rng(0)
    listed = [
        {"id": i, "height": 321, "width": 481, "file_name": f"{i}.jpg"} for i in range(images)
    ]
    masks = [(i, mask) for i in range(images) for mask in blobs(rng, per_image)]
    return {"images": listed, "annotations": [truth_entry(i, m) for i, m in masks]}


def truth_entry(image: int, mask: Entry) -> Entry:
    area = int(cocomask.area(mask))
    return {"image_id": image, "segmentation": mask, "area": area, "bbox": [0, 0, 1, 1]}


def read_truth(data: Path, images: int) -> Entry:
    value: Entry = json.loads((data / "val.json").read_text())
    value["images"] = value["images"][:images]
    known = {image["id"] for image in value["images"]}
    value["annotations"] = [a for a in value["annotations"] if a["image_id"] in known]
    return value


def predictions_for(masks: list[Entry], count: int, rng: np.random.Generator) -> Iterator[Entry]:
    """Masks of the ground truth, shifted, eroded or united."""
    decoded = [cocomask.decode(mask) for mask in masks]
    for _ in range(count):
        mask = np.roll(decoded[rng.integers(len(decoded))], rng.integers(-8, 9, 2), (0, 1))
        if rng.random() < 0.5:
            mask = mask | decoded[rng.integers(len(decoded))]
        yield encode(mask)


def compare(truth: Entry, per_image: int, folder: Path, *, repeats: int, slow: bool) -> None:
    rng = np.random.default_rng(1)
    for number, entry in enumerate(truth["annotations"], start=1):
        entry |= {"id": number, "category_id": 1, "iscrowd": entry.get("iscrowd", 0)}
    truth["categories"] = [{"id": 1, "name": "entity"}]
    found: list[Entry] = []
    for image in truth["images"]:
        masks = [a["segmentation"] for a in truth["annotations"] if a["image_id"] == image["id"]]
        found += [
            {"image_id": image["id"], "category_id": 1, "segmentation": m, "score": rng.random()}
            for m in predictions_for(masks, per_image, rng)
        ]
    paths = folder / "truth.json", folder / "found.json"
    for path, value in zip(paths, (truth, found), strict=True):
        path.write_text(json.dumps(value))
    print(f"{len(truth['images'])} images, {len(truth['annotations'])} masks, {len(found)} found")
    runs: dict[str, Callable[[Path, Path], float]] = {
        "unsam": by_unsam,
        "unsam --jobs 1": lambda t, f: by_unsam(t, f, jobs=1),
        "faster-coco-eval": by_faster,
    }
    if slow:
        runs["pycocotools"] = by_pycocotools
    by_unsam(*paths)  # compiles
    times: dict[str, list[float]] = {name: [] for name in runs}
    recalls: dict[str, float] = {}
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            recalls[name] = run(*paths)
            times[name].append(time.perf_counter() - start)
    for name, spent in times.items():
        ratios = sorted(s / own for s, own in zip(spent, times["unsam"], strict=True))
        text = f"x {median(ratios):5.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(f"{name:18s} {median(spent):8.2f} s  {text}  AR@1000 {recalls[name]!r}")


def by_unsam(truth: Path, found: Path, **how: Any) -> float:
    run = RunSettings(Step("evaluate"), **how)
    report, _ = evaluate(str(truth), [str(found)], EvaluateSettings(), run, EvaluateOutputs())
    assert report is not None
    recall: float = report["metrics"]["AR@1000"]
    return recall


def by_faster(truth: Path, found: Path) -> float:
    import faster_coco_eval

    return by_coco(faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster, truth, found)


def by_pycocotools(truth: Path, found: Path) -> float:
    return by_coco(COCO, COCOeval, truth, found)


def by_coco(coco: Any, evaluator: Any, truth: Path, found: Path) -> float:
    with contextlib.redirect_stdout(io.StringIO()):
        annotations = coco(str(truth))
        e = evaluator(annotations, annotations.loadRes(str(found)), "segm")
        e.params.useCats, e.params.maxDets = 0, list(MAX_DETS)
        e.evaluate()
        e.accumulate()
    return float(np.mean(e.eval["recall"][:, 0, 0, -1]))


def large(count: int, folder: Path) -> None:
    """Evaluate files of `count` predictions, a thousand an image, and print the peak memory."""
    rng = np.random.default_rng(0)
    images = max(count // 1000, 1)
    masks = blobs(rng, 40)
    found = list(predictions_for(masks, 1000, rng))
    truth, results = folder / "truth.json", folder / "found.json"
    value = drawn_truth(images, 0)
    value["annotations"] = [
        truth_entry(i, mask) | {"id": 40 * i + k + 1, "category_id": 1, "iscrowd": 0}
        for i in range(images)
        for k, mask in enumerate(masks)
    ]
    truth.write_text(json.dumps(value | {"categories": [{"id": 1, "name": "entity"}]}))
    with results.open("w") as stream:
        for i in range(images):
            for k, mask in enumerate(found):
                entry = {"image_id": i, "category_id": 1, "segmentation": mask}
                stream.write("[" if i + k == 0 else ",\n")
                stream.write(json.dumps(entry | {"score": round(rng.random(), 6)}))
        stream.write("]\n")
    print(f"{count} predictions, {results.stat().st_size / 2**20:.0f} MiB")
    command = [sys.executable, "-m", "unsam_cli", "evaluate", str(truth), str(results)]
    start = time.perf_counter()
    ran = subprocess.run(command, capture_output=True, check=True, text=True)
    print(f"{time.perf_counter() - start:.1f} s; {ran.stderr.strip().splitlines()[-1]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of bsds500")
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--per-image", type=int, default=1000, help="predictions an image")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-pycocotools", action="store_true", help="it is slow")
    parser.add_argument("--predictions", type=int, help="measure the memory with that many")
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.predictions:
            large(given.predictions, folder)
            return
        truth = (
            read_truth(given.data, given.images) if given.data else drawn_truth(given.images, 60)
        )
        compare(
            truth, given.per_image, folder, repeats=given.repeats, slow=not given.no_pycocotools
        )


if __name__ == "__main__":
    main()
