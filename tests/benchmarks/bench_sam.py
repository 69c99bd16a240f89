"""Automatic masks after the encoder: ours against segment-anything's generator, same weights.

    python tests/benchmarks/bench_sam.py [--size 1500x2250] [--points 16] [--masks discs|random]

The decoder has SAM's size and random weights; what the encoder gives is there already. Random
weights give masks that are all over the image, so with ``discs`` both sides run the whole decoder,
but see discs around the clicks in place of its masks. Each side runs in a process of its own. Time
is that of the CPU, so that other work on the machine counts less; memory is what is added to that
of the model. Linux only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from sam_models import discs, make_original, picture

from unsam_cli.rle import iou
from unsam_cli.sam.automatic import automatic_masks
from unsam_cli.sam.decoding import Decoding
from unsam_cli.sam.meta import load_original
from unsam_cli.sam.model import PromptableModel
from unsam_cli.sam.settings import AutomaticConfig

SIDE = 1024


def measured(function: Callable[[], Any]) -> tuple[float, float, Any]:
    """CPU seconds, peak of memory over that before, MB, and the result."""
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    before, start = memory("VmRSS"), time.process_time()
    result = function()
    return time.process_time() - start, memory("VmHWM") - before, result


def memory(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def reference(original: Any, image: np.ndarray, config: AutomaticConfig, masks: str) -> Any:
    from segment_anything import SamAutomaticMaskGenerator

    if masks == "discs":
        encode, decode = original.prompt_encoder.forward, original.mask_decoder.forward
        asked: list[Any] = []

        def remember(points: Any, boxes: Any, masks: Any) -> Any:
            asked[:] = [points[0]]
            return encode(points, boxes, masks)

        def answer(**inputs: Any) -> Any:
            decode(**inputs)
            return discs(asked[0], SIDE, SIDE // 4)

        original.prompt_encoder.forward, original.mask_decoder.forward = remember, answer
    generator = SamAutomaticMaskGenerator(
        original,
        points_per_side=config.points_per_side,
        pred_iou_thresh=config.min_score,
        stability_score_thresh=config.min_stability,
        stability_score_offset=config.stability_offset,
        box_nms_thresh=config.nms_iou,
        output_mode="coco_rle",
    )
    generator.predictor.set_image(image)
    generator.predictor.set_image = lambda image: None
    seconds, peak, found = measured(lambda: generator.generate(image))
    rles = [{**m["segmentation"], "counts": m["segmentation"]["counts"].encode()} for m in found]
    return seconds, peak, rles


class Discs(Decoding):
    clicks: Any

    @property
    def scores(self) -> Any:
        _ = super().scores
        return discs(self.clicks, SIDE, SIDE // 4)[1]

    def logits(self, rows: Any = None) -> Any:
        super().logits(rows)
        return discs(self.clicks[rows], SIDE, SIDE // 4)[0]


def ours(model: Any, image: np.ndarray, config: AutomaticConfig, masks: str) -> Any:
    if masks == "discs":
        attend = model.attend

        def answer(embedding: Any, prompts: Any, **options: Any) -> Any:
            found = Discs(**vars(attend(embedding, prompts, **options)))
            object.__setattr__(found, "clicks", prompts.points)
            return found

        model.attend = answer
    warm = AutomaticConfig(points_per_side=2, min_score=-9, min_stability=0)
    automatic_masks(model, image[:64, :64], warm)  # compiles
    with torch.inference_mode():
        embedding = model.embed(model.frame(image.shape[:2]).pixels(image)[None])
    model.embed = lambda pixels: embedding
    seconds, peak, found = measured(lambda: automatic_masks(model, image, config))
    return seconds, peak, found.rles


def child(args: argparse.Namespace) -> None:
    height, width = map(int, args.size.split("x"))
    image = picture(height, width)
    folder = Path(args.folder)
    original = make_original(SIDE, 256, whole=())
    torch.save(original.state_dict(), folder / "sam.pth")
    model = PromptableModel(load_original(folder / "sam.pth")).eval()
    config = AutomaticConfig(args.points, 0.88, 0.85)
    if args.masks == "random":
        config = AutomaticConfig(args.points, args.min_score, 0.1, stability_offset=0.3, nms_iou=1)
    run = partial(reference, original) if args.side == "reference" else partial(ours, model)
    seconds, peak, rles = run(image, config, args.masks)
    for rle in rles:
        rle["counts"] = rle["counts"].decode()
    print(json.dumps([seconds, peak, rles]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="1500x2250", help="height x width of the image")
    parser.add_argument("--points", type=int, default=16, help="points along a side of the grid")
    parser.add_argument("--masks", choices=["discs", "random"], default="discs")
    parser.add_argument("--min-score", type=float, default=0.5, help="with random masks")
    parser.add_argument("--side", choices=["reference", "ours"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        child(args)
        return
    told = {}
    with tempfile.TemporaryDirectory() as folder:
        for side in ("reference", "ours"):
            command = [sys.executable, __file__, *sys.argv[1:], "--side", side, "--folder", folder]
            ran = subprocess.run(command, check=True, stdout=subprocess.PIPE)
            told[side] = json.loads(ran.stdout)
    print(f"{args.size}, {args.points}^2 points, {args.masks}, {torch.get_num_threads()} threads")
    print(f"{'':10} {'CPU s':>8} {'prompts/s':>10} {'peak MB':>8} {'masks':>6}")
    for side, (seconds, peak, rles) in told.items():
        rate = args.points**2 / seconds
        print(f"{side:10} {seconds:8.1f} {rate:10.1f} {peak:8.0f} {len(rles):6}")
    (slow, *_, expected), (fast, *_, got) = told.values()
    same = len(expected) == len(got) and min(
        (float(iou([a], [b])[0, 0]) for a, b in zip(expected, got, strict=True)), default=1.0
    )
    print(f"{slow / fast:.1f} times as fast; least IoU of masks of the same rank {same:.5f}")


if __name__ == "__main__":
    main()
