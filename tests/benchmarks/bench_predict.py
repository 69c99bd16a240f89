"""Memory and time of prediction, against the naive way and against Hugging Face's own.

    python tests/benchmarks/bench_predict.py enlarge [--queries 2000] [--naive 100]
    OMP_NUM_THREADS=1 python tests/benchmarks/bench_predict.py network [--images 2] [--queries 100]

`enlarge` begins with what a network says about an image of 1500 x 2250 pixels (random classes,
embeddings and features at 256 x 384, smooth or not) and ends with runs. The naive way enlarges
all queries twice and then takes the best 1000; where its arrays do not fit into memory, it is given
fewer queries, and memory, which grows with them, is extrapolated. Each runs in a process of
its own, whose peak is that of the process less what it was once torch was loaded.

`network` segments random photographs with a Mask2Former (ResNet-50, random weights) with `unsam`'s
pipeline, and with transformers: its model and its `post_process_instance_segmentation`, each in a
process of its own. Operations are those that torch's counter finds in the forward pass; the rate
is that of a large matrix product on the same threads.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from unsam_cli.backbones.speed import matmul_rate
from unsam_cli.errors import UnsamError
from unsam_cli.found_masks import FoundMasks, annotate
from unsam_cli.models.loading import create_segmenter
from unsam_cli.models.predictions import Predictions
from unsam_cli.models.segmenter import Segmenter
from unsam_cli.models.settings import SegmenterConfig
from unsam_cli.prediction.masks import concatenate, draw, slices
from unsam_cli.prediction.pipeline import predict_images
from unsam_cli.prediction.predict import Predictor
from unsam_cli.prediction.settings import PredictSettings
from unsam_cli.prediction.views import View
from unsam_cli.rle import area
from unsam_cli.run.resources import peak_memory

HEIGHT, WIDTH = 1500, 2250
PADDED, LOW, CHANNELS = (1024, 1536), (256, 384), 256
VIEW = View(0, 0, WIDTH, HEIGHT, PADDED, PADDED)
GIB = 2**30


@dataclass(frozen=True)
class Photo:
    path: Path


def random_predictions(queries: int, kind: str) -> Predictions:
    """Smooth features and few positive pixels, as of a trained network; or plain noise."""
    rng = torch.Generator().manual_seed(0)
    embeddings = torch.randn(1, 1, queries, CHANNELS, generator=rng)
    if kind == "smooth":
        coarse = torch.randn(1, CHANNELS, 16, 24, generator=rng)
        features = functional.interpolate(coarse, LOW, mode="bicubic")
        features[:, 0], embeddings[..., 0] = -20, 1  # 5 % of the logits are positive
    else:
        features = torch.randn(1, CHANNELS, *LOW, generator=rng)
    return Predictions(torch.randn(1, 1, queries, 2, generator=rng), embeddings, features)


def ours(predictions: Predictions) -> dict[str, Any]:
    found = [draw(s, VIEW, (HEIGHT, WIDTH)) for s in slices(predictions, 0, PredictSettings())]
    masks = concatenate(found)
    return {"masks": len(masks), "pixels": int(area(masks.rles).sum())}


def naive(predictions: Predictions) -> dict[str, Any]:
    from pycocotools import mask as cocomask

    with torch.inference_mode():
        logits = predictions.mask_logits()
        logits = functional.interpolate(logits, PADDED, mode="bilinear", align_corners=False)
        logits = functional.interpolate(
            logits, (HEIGHT, WIDTH), mode="bilinear", align_corners=False
        )[0]
        scores = predictions.class_logits[-1, 0].softmax(-1)[:, 0]
        logits = logits[scores.topk(min(1000, len(scores))).indices]
        masks = logits > 0
        (logits.sigmoid() * masks).flatten(1).sum(1) / (masks.flatten(1).sum(1) + 1e-6)
    rles = [cocomask.encode(np.asfortranarray(m)) for m in masks.numpy().astype(np.uint8)]
    return {"masks": len(rles), "pixels": int(masks.sum())}


def measure(way: str, queries: int, kind: str) -> None:
    """Print the time, the peak and what came out as JSON, in a process of its own."""
    if way == "ours":
        ours(random_predictions(10, kind))  # compiled, or read from the cache
    predictions = random_predictions(queries, kind)
    start = time.perf_counter()
    result = {"ours": ours, "naive": naive}[way](predictions)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({**result, "seconds": seconds, "peak": peak}))


def child(way: str, queries: int, kind: str) -> dict[str, Any]:
    run = [sys.executable, __file__, "measure", way, str(queries), kind]
    ran = subprocess.run(run, check=True, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def bench_enlarge(queries: int, few: int) -> None:
    for kind in ("smooth", "noise"):
        mine = child("ours", queries, kind)
        print(
            f"{kind}: ours, {queries} queries: {mine['masks']} masks in {mine['seconds']:.1f} s, "
            f"peak {mine['peak'] / GIB:.2f} GiB"
        )
        mine, theirs, half = (
            child(way, n, kind) for way, n in (("ours", few), ("naive", few), ("naive", few // 2))
        )
        assert mine["pixels"] == theirs["pixels"], (mine, theirs)
        each = (theirs["peak"] - half["peak"]) / (few - few // 2)
        print(
            f"  {few} queries: ours {mine['seconds']:.1f} s, {mine['peak'] / GIB:.2f} GiB; naive "
            f"{theirs['seconds']:.1f} s, {theirs['peak'] / GIB:.1f} GiB; both "
            f"{mine['pixels']} pixels; {queries} queries would take the naive way "
            f"{(theirs['peak'] + each * (queries - few)) / GIB:.0f} GiB"
        )


def count(photo: Photo, masks: FoundMasks) -> int:
    return len(annotate(1, masks))


def segment(segmenter: Segmenter, photos: Sequence[Photo]) -> None:
    """Segment photographs with our pipeline."""
    predictor = Predictor(segmenter, PredictSettings())
    for _, found in predict_images(photos, predictor, count, jobs=1):
        if isinstance(found, UnsamError):
            raise found


def segment_with_transformers(segmenter: Segmenter, photos: Sequence[Photo]) -> None:
    """Segment photographs with the loop that one would write."""
    from transformers import Mask2FormerImageProcessor

    processor = Mask2FormerImageProcessor(
        size={"shortest_edge": 1024, "longest_edge": 2048}, size_divisor=32
    )
    with torch.inference_mode():
        for photo in photos:
            outputs = segmenter.network(**processor(Image.open(photo.path), return_tensors="pt"))
            processor.post_process_instance_segmentation(
                SimpleNamespace(**outputs),
                threshold=0.0,
                target_sizes=[(HEIGHT, WIDTH)],
                return_binary_maps=True,
            )


WAYS = {"unsam": segment, "transformers": segment_with_transformers}


def operations(way: str, segmenter: Segmenter) -> int:
    """Count those of one forward pass, apart: the counter changes time and memory."""
    network = segmenter if way == "unsam" else segmenter.network
    pixels = torch.zeros(1, 3, *PADDED)
    # It also looks for gradients that inference mode does not have.
    segmenter.requires_grad_(False)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(pixels)
    return int(counter.get_total_flops())


def measure_network(way: str, images: int, queries: int) -> None:
    """Print what images take as JSON, in a process of its own."""
    config = SegmenterConfig(backbone_weights="random", queries=queries)
    segmenter = create_segmenter(config, seed=0).eval()
    ours(random_predictions(10, "smooth"))  # compiled, or read from the cache
    with tempfile.TemporaryDirectory() as folder:
        photos = [Photo(Path(folder, f"{i}.jpg")) for i in range(images)]
        for i, photo in enumerate(photos):
            noise = np.random.default_rng(i).integers(0, 256, (30, 45, 3), dtype=np.uint8)
            Image.fromarray(noise).resize((WIDTH, HEIGHT)).save(photo.path)
        start = time.process_time()
        WAYS[way](segmenter, photos)
        seconds = (time.process_time() - start) / images
    peak = peak_memory() / 2**20
    rate = operations(way, segmenter) / seconds / matmul_rate(seconds=2)
    print(json.dumps({"seconds": seconds, "rate": rate, "peak": peak}))


def bench_network(images: int, queries: int) -> None:
    found = {}
    for way in WAYS:
        run = [sys.executable, __file__, "measure", way, str(images), str(queries)]
        ran = subprocess.run(run, check=True, stdout=subprocess.PIPE)
        found[way] = json.loads(ran.stdout)
        print(
            "{}: {seconds:.1f} CPU s an image, {rate:.0%} of the matmul rate, peak {peak:.0f} "
            "MiB".format(way, **found[way]),
            flush=True,
        )
    print(f"ratio: {found['transformers']['seconds'] / found['unsam']['seconds']:.2f}")


def main() -> None:
    if sys.argv[1:2] == ["measure"]:
        if sys.argv[2] in WAYS:
            measure_network(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
        else:
            measure(sys.argv[2], int(sys.argv[3]), sys.argv[4])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["enlarge", "network"])
    parser.add_argument("--queries", type=int)
    parser.add_argument(
        "--naive", type=int, default=100, help="queries that the naive way is given"
    )
    parser.add_argument("--images", type=int, default=2)
    options = parser.parse_args()
    if options.what == "enlarge":
        bench_enlarge(options.queries or 2000, options.naive)
    else:
        bench_network(options.images, options.queries or 100)


if __name__ == "__main__":
    main()
