"""Peak memory and time of a whole-image segmenter: our forward pass, and transformers' own.

``python tests/benchmarks/bench_segmenter.py [--size 512 768] [--queries 2000] [--train]``

Each runs in a process of its own: a ResNet-50 Mask2Former with random weights and one picture.
Both processes take the same picture, and their logits are compared.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from unsam_cli.models.loading import create_segmenter
from unsam_cli.models.segmenter import Segmenter
from unsam_cli.models.settings import SegmenterConfig
from unsam_cli.run.resources import peak_memory


def run_ours(segmenter: Segmenter, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return class logits, and one number for each mask."""
    predictions = segmenter(pixels)
    sums = predictions.features.sum((2, 3))[:, None] * predictions.embeddings[-1]
    return predictions.class_logits[-1], sums.sum(-1)


def run_theirs(segmenter: Segmenter, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return class logits, and one number for each mask."""
    output = segmenter.network(pixels)
    return output.class_queries_logits, output.masks_queries_logits.sum((2, 3))


def measure(way: str, options: argparse.Namespace, output: Path) -> dict[str, Any]:
    """Run one way in this process."""
    config = SegmenterConfig(backbone_weights="random", queries=options.queries)
    segmenter = create_segmenter(config, seed=0).eval()
    pixels = torch.randn(1, 3, *options.size, generator=torch.Generator().manual_seed(0))
    before, start, spent = peak_memory(), time.perf_counter(), time.process_time()
    with torch.set_grad_enabled(options.train):
        segmenter.train(options.train)
        segmenter.checkpointing = options.train
        results = {"ours": run_ours, "transformers": run_theirs}[way](segmenter, pixels)
        if options.train:
            sum(r.sum() for r in results).backward()  # type: ignore[union-attr]
    seconds, cpu = time.perf_counter() - start, time.process_time() - spent
    torch.save([r.detach() for r in results], output)
    return {"seconds": seconds, "cpu": cpu, "before": before, "peak": peak_memory()}


def main() -> None:
    """Print what both ways need."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=2, default=(512, 768), metavar=("H", "W"))
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--train", action="store_true", help="with gradients and checkpointing")
    parser.add_argument("--ways", nargs="+", default=["ours", "transformers"])
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.output:
        print(json.dumps(measure(options.ways[0], options, options.output)))
        return
    results = []
    with tempfile.TemporaryDirectory() as name:
        for way in options.ways:
            output = Path(name, way)
            line = [sys.executable, *sys.argv, "--ways", way, "--output", str(output)]
            ran = subprocess.run(line, check=True, stdout=subprocess.PIPE)
            found = json.loads(ran.stdout)
            print(
                f"{way:12s} {options.size[0]} x {options.size[1]}, {options.queries} queries: "
                f"{found['seconds']:6.1f} s, {found['cpu']:6.1f} s of CPU, "
                f"peak {found['peak'] / 2**20:6.0f} MiB "
                f"({found['before'] / 2**20:.0f} MiB before)",
                flush=True,
            )
            results.append(torch.load(output, weights_only=True))
    if len(results) == 2:
        for what, ours, theirs in zip(("class logits", "sums of masks"), *results, strict=True):
            error = (ours - theirs).abs().max() / theirs.abs().max()
            print(f"{what}: largest difference {error:.1e} of the largest value")


if __name__ == "__main__":
    main()
