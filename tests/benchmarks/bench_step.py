"""A step of training: Mask2Former with our losses, and with those of transformers.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_step.py [--side 512] [--steps 2]

Forward and backward pass of one image, random weights (ResNet-50), the same masks, number of points
and weights of losses; the optimizer is left out. Each runs in a process of its own. Operations are
those of torch's counter, which knows matrix products and convolutions; the rate is that of a large
matrix product on the same threads. Linux only.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from unsam_cli.backbones.speed import matmul_rate
from unsam_cli.models.loading import create_segmenter
from unsam_cli.models.segmenter import Segmenter
from unsam_cli.models.settings import SegmenterConfig
from unsam_cli.training.bitmasks import BitMasks
from unsam_cli.training.criterion import count_amounts, set_losses
from unsam_cli.training.recipe import LossSettings


def discs(count: int, side: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    y, x = np.ogrid[:side, :side]
    radii = side * (0.02 + 0.25 * rng.random(count) ** 2)
    centres = rng.integers(0, side, (count, 2))
    return [np.hypot(y - cy, x - cx) < r for (cy, cx), r in zip(centres, radii, strict=True)]


def step_of_ours(segmenter: Segmenter, pixels: Tensor, masks: list[np.ndarray]) -> Tensor:
    side = pixels.shape[-1]
    targets = [BitMasks.pack(iter(masks), (side, side))]
    settings = LossSettings()
    totals = count_amounts(segmenter.config.queries, [len(masks)], settings).float()
    return set_losses(segmenter(pixels), targets, [0], totals, settings).sum()


def step_of_theirs(segmenter: Segmenter, pixels: Tensor, masks: list[np.ndarray]) -> Tensor:
    targets = torch.from_numpy(np.stack(masks)).float()
    classes = torch.zeros(len(masks), dtype=torch.int64)
    found = segmenter.network(pixels, mask_labels=[targets], class_labels=[classes])
    loss: torch.Tensor = found.loss.sum()
    return loss


STEPS = {"ours": step_of_ours, "transformers": step_of_theirs}


def measure(way: str, side: int, queries: int, count: int, steps: int) -> None:
    """Print what a step takes as JSON, in a process of its own."""
    config = SegmenterConfig(backbone_weights="random", queries=queries)
    segmenter = create_segmenter(config, seed=0).train()
    pixels = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    masks = discs(count, side)

    def step() -> float:
        loss = STEPS[way](segmenter, pixels, masks)
        loss.backward()  # type: ignore[no-untyped-call]
        segmenter.zero_grad()
        return float(loss.detach())

    counter = FlopCounterMode(display=False)
    with counter:
        loss = step()
    start = time.process_time()
    for _ in range(steps):
        step()
    seconds = (time.process_time() - start) / steps
    rate = counter.get_total_flops() / seconds / matmul_rate(seconds=2)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(json.dumps({"seconds": seconds, "rate": rate, "peak": peak, "loss": loss}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--masks", type=int, default=100)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--way", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        measure(options.way, options.side, options.queries, options.masks, options.steps)
        return
    found = {}
    for way in STEPS:
        run = [sys.executable, *sys.argv, "--way", way]
        ran = subprocess.run(run, check=True, stdout=subprocess.PIPE)
        found[way] = json.loads(ran.stdout)
        print(
            "{}: {seconds:.1f} CPU s a step, {rate:.0%} of the matmul rate, peak {peak:.0f} MiB, "
            "loss {loss:.1f}".format(way, **found[way])
        )
    print(f"ratio: {found['transformers']['seconds'] / found['ours']['seconds']:.2f}")


if __name__ == "__main__":
    main()
