"""Fine-tuning the decoder of SAM ViT-B, random weights: with the encoder's features kept, and not.

    python tests/benchmarks/bench_finetune.py [--clicks 30] [--chunk 16] [--steps 2]

Time is that of the CPU, so that other work on the machine counts less; memory is the highest of the
process. Linux only.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from transformers import SamConfig, SamModel

sys.path.insert(0, str(Path(__file__).parents[1]))

from prompted_scenes import write_nested

from unsam_cli.sam.model import PromptableModel, trainable
from unsam_cli.training.dataset import AnnotatedImages
from unsam_cli.training.prompted.embeddings import KeptEmbeddings
from unsam_cli.training.prompted.samples import PromptedSamples
from unsam_cli.training.prompted.settings import PromptSettings
from unsam_cli.training.prompted.task import PromptedTask
from unsam_cli.training.recipe import DataSettings, ParameterSettings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clicks", type=int, default=30)
    parser.add_argument("--chunk", type=int, default=16)
    parser.add_argument("--steps", type=int, default=2)
    options = parser.parse_args()
    torch.manual_seed(0)
    model = PromptableModel(SamModel(SamConfig()))
    trainable(model, "decoder")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        masks = write_nested(folder, range(1), side=1024)
        images = AnnotatedImages([masks], folder / "images", DataSettings())
        settings = PromptSettings(clicks=options.clicks, chunk=options.chunk)
        model.network.save_pretrained(folder / "sam")
        unsam = [sys.executable, "-m", "unsam_cli", "extract-features", "--quiet"]
        sam: list[str | Path] = [
            "--backbone",
            "sam",
            "--weights",
            folder / "sam",
            "-o",
            folder / "features.h5",
        ]
        subprocess.run([*unsam, folder / "images", *sam], check=True)
        spent: list[float] = []
        for kept in (None, KeptEmbeddings(folder / "features.h5", model)):
            samples = PromptedSamples(images, model.side, False, model.config, settings, kept)
            task = PromptedTask(model, samples, ParameterSettings())
            task.module.train()
            start = time.process_time()
            for seed in range(options.steps):
                step(task, seed)
            seconds = (time.process_time() - start) / options.steps
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            what = "without" if kept is None else "with"
            spent.append(seconds)
            print(f"{what} kept features: {seconds:.1f} CPU s a step, {peak:.2f} GiB at most")
        print(f"ratio: {spent[0] / spent[1]:.1f}")


def step(task: PromptedTask, seed: int) -> None:
    batch = task.collate([task.sample(0, seed)])
    totals = task.amounts(batch).float()
    losses = task.module(batch, totals)
    torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
    task.module.zero_grad()


if __name__ == "__main__":
    main()
