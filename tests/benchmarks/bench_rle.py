"""RLE work on many masks of one image, against pycocotools and full arrays.

    python tests/benchmarks/bench_rle.py [--masks 3000]

Prints medians of interleaved repetitions and the ratio baseline / ours.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as cocomask
from scipy import ndimage

from unsam_cli import rle

SIZE = (480, 640)


def scene(count: int, rng: np.random.Generator) -> list[rle.Rle]:
    """Nested blobs, each repeated up to six times with slightly moved borders."""
    h, w = SIZE
    noise = [ndimage.gaussian_filter(rng.normal(size=SIZE), sigma) for sigma in (3, 8, 20, 50)]
    masks: list[rle.Rle] = []
    while len(masks) < count:
        field = noise[rng.integers(4)]
        labels, n = ndimage.label(field > np.quantile(field, rng.uniform(0.3, 0.9)))
        places = ndimage.find_objects(labels)
        for label in rng.permutation(n)[:6]:
            place = places[label]
            blob = labels[place] == label + 1
            for _ in range(rng.integers(1, 7)):
                y, x = place[0].start, place[1].start
                bitten = blob & (rng.random(blob.shape) < 1 - 0.002 * rng.integers(0, 3))
                masks.append(rle.encode_window(bitten, x, y, (h, w)))
    return masks[:count]


def naive_suppress(masks: list[rle.Rle], order: NDArray[np.int64], t: float) -> NDArray[np.bool_]:
    ordered = [masks[index] for index in order]
    ious = cocomask.iou(ordered, ordered, [0] * len(ordered))
    keep = np.ones(len(ordered), dtype=bool)
    for place in range(len(ordered)):
        if keep[place]:
            keep[place + 1 :] &= ious[place, place + 1 :] <= t
    out = np.zeros(len(masks), dtype=bool)
    out[order] = keep
    return out


def compare(name: str, ours: Callable[[], object], base: Callable[[], object] | None) -> None:
    ours()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(5):
        for call, spent in zip((ours, base), times, strict=True):
            if call is not None:
                start = time.perf_counter()
                call()
                spent.append(time.perf_counter() - start)
    line = f"{name:34s} {1e3 * median(times[0]):10.2f} ms"
    if base is not None:
        baseline = median(times[1])
        line += f"  baseline {1e3 * baseline:10.2f} ms  x {baseline / median(times[0]):6.1f}"
    print(line)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--masks", type=int, default=3000)
    count = parser.parse_args().masks
    rng = np.random.default_rng(0)
    masks = scene(count, rng)
    table = rle.RunTable.from_rles(masks)
    order = np.argsort(-table.areas, kind="stable")
    print(f"{count} masks of {SIZE[0]}x{SIZE[1]}, {len(table.runs) / count:.0f} runs a mask, "
          f"{rle.suppress(table, order, 0.9).sum()} after suppression")  # fmt: skip

    compare("RunTable.from_rles", lambda: rle.RunTable.from_rles(masks), None)
    compare("suppress, IoU 0.9", lambda: rle.suppress(table, order, 0.9),
            lambda: naive_suppress(masks, order, 0.9))  # fmt: skip
    compare("suppress, IoU 0.5", lambda: rle.suppress(table, order, 0.5), None)
    first = rle.RunTable.from_rles(masks[:1000])
    compare("parents of 1000", lambda: rle.parents(first), None)
    some = masks[:300]
    compare("iou 300 x 300", lambda: rle.iou(some, some),
            lambda: cocomask.iou(some, some, [0] * 300))  # fmt: skip
    arrays = [np.asfortranarray(rle.decode(mask)) for mask in some]
    compare("encode 300", lambda: [rle.encode(mask) for mask in arrays],
            lambda: [cocomask.encode(mask.view(np.uint8)) for mask in arrays])  # fmt: skip
    compare("decode 300", lambda: [rle.decode(mask) for mask in some],
            lambda: [cocomask.decode(mask) for mask in some])  # fmt: skip
    boxes = rle.boxes(some)
    parts = [mask[y : y + h, x : x + w] for mask, (x, y, w, h) in zip(arrays, boxes, strict=True)]
    compare("encode_window 300",
            lambda: [rle.encode_window(part, box[0], box[1], SIZE)
                     for part, box in zip(parts, boxes.tolist(), strict=True)],
            lambda: [rle.encode(mask) for mask in arrays])  # fmt: skip
    # pycocotools 2.0.11 overflows above 255 masks under numpy 2: one at a time
    compare("area + boxes", lambda: (rle.area(masks), rle.boxes(masks)),
            lambda: [(cocomask.area(m), cocomask.toBbox(m)) for m in masks])  # fmt: skip
    half = (SIZE[0] // 2, SIZE[1] // 2)
    compare("resize 300 by half", lambda: [rle.resize(mask, half) for mask in some],
            lambda: [rle.encode(rle.decode(mask)[1::2, 1::2]) for mask in some])  # fmt: skip


if __name__ == "__main__":
    main()
