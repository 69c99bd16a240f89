"""UnSAM's promptable model after its encoder: ours against the plain loop, same weights.

    python tests/benchmarks/bench_semantic.py [--size 1200x1800] [--points 16] [--min-score 0.5]

The plain loop is what the description says: for each batch of clicks, every layer projects the
image again, and all masks are enlarged to the input, then to the image, with torch, and cut at 0.
Weights are random and of the published sizes. Each side runs in a process of its own; time is that
of the CPU, memory is what is added to that of the model and the encoder's output. Linux only.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parents[1]))

import semantic_reference
from sam_models import picture

from unsam_cli.rle import area, encode
from unsam_cli.sam.automatic import automatic_masks
from unsam_cli.sam.crops import Crop, grid
from unsam_cli.sam.semantic.files import read_semantic
from unsam_cli.sam.semantic.model import SemanticModel, click_boxes
from unsam_cli.sam.settings import AutomaticConfig


def measured(function: Callable[[], Any]) -> tuple[float, float, Any]:
    """CPU seconds, peak of memory over that before, MB, and the result."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what was freed does not hide what is needed
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    before, start = memory("VmRSS"), time.process_time()
    result = function()
    return time.process_time() - start, memory("VmHWM") - before, result


def memory(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def plain(model: Any, frame: Any, pyramid: Any, points: Any, least: float, batch: int) -> Any:
    """Return the masks whose score is over `least`, in the order of the points."""
    inside = frame.inwards(torch.from_numpy(points))
    found = []
    for at in range(0, len(points), batch):
        pyramid.kept.clear()
        boxes = click_boxes(inside[at : at + batch], pyramid.size)
        answers = model.network.answer(pyramid, boxes)
        masks = functional.interpolate(answers.masks(pyramid), frame.padded, mode="bilinear")
        masks = masks[..., : frame.inner[0], : frame.inner[1]]
        masks = functional.interpolate(masks, frame.size, mode="bilinear") > 0
        good = answers.scores > least if least > 0 else answers.scores == answers.scores
        found += [encode(mask.numpy()) for mask in masks[good]]
    return found


def child(args: argparse.Namespace) -> None:
    height, width = map(int, args.size.split("x"))
    state = semantic_reference.make_state(semantic_reference.PUBLISHED)
    model = SemanticModel(read_semantic(state, Path("random.pth"))).eval()
    config = AutomaticConfig(args.points, args.min_score, 0, nms_iou=1)
    image, frame = picture(height, width), model.frame((height, width))
    points = grid(Crop(0, 0, width, height, 0), config)
    with torch.inference_mode():
        automatic_masks(model, image[:64, :64], AutomaticConfig(1, 0, 0))  # compiles
        encoding, peak, pyramid = measured(lambda: model.embed(frame.pixels(image)[None]))
        print(f"encoder: {encoding:.1f} CPU s, {peak:.0f} MB", file=sys.stderr)
        if args.side == "ours":
            model.embed = lambda pixels: pyramid  # type: ignore[method-assign]
            # Suppression sorts by score; the plain loop is compared mask by mask.
            seconds, peak, found = measured(lambda: automatic_masks(model, image, config))
            order = np.lexsort((np.arange(len(found)), *found.points.T))
            rles = [found.rles[i] for i in order]
        else:
            batch = 1 if args.side == "one by one" else 16
            seconds, peak, rles = measured(
                lambda: plain(model, frame, pyramid, points, args.min_score, batch)
            )
    print(json.dumps([seconds, peak, len(rles), int(area(rles).sum())]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="1200x1800", help="height x width of the image")
    parser.add_argument("--points", type=int, default=16, help="points along a side of the grid")
    parser.add_argument("--min-score", type=float, default=0.5, help="0 keeps all masks")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        child(args)
        return
    told = {}
    for side in ("one by one", "batches of 16", "ours"):
        command = [sys.executable, __file__, *sys.argv[1:], "--side", side]
        ran = subprocess.run(command, check=True, stdout=subprocess.PIPE)
        told[side] = json.loads(ran.stdout)
    print(f"{args.size}, {args.points}^2 points, {torch.get_num_threads()} threads")
    print(f"{'':14} {'CPU s':>8} {'clicks/s':>9} {'peak MB':>8} {'masks':>6} {'pixels':>12}")
    for side, (seconds, peak, masks, pixels) in told.items():
        rate = args.points**2 / seconds
        print(f"{side:14} {seconds:8.1f} {rate:9.1f} {peak:8.0f} {masks:6} {pixels:12}")
    ours = told["ours"][0]
    for side in ("one by one", "batches of 16"):
        print(f"{told[side][0] / ours:.1f} times as fast as {side}")


if __name__ == "__main__":
    main()
