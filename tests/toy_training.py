"""A small regression as a task for the trainer, and ways to run it in processes of its own.

As a program: ``python toy_training.py RUN/ '{"steps": 8}'`` trains with these settings.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from unsam_cli.errors import ImageFileError, UnsamError
from unsam_cli.run.provenance import Step
from unsam_cli.training.settings import TrainerSettings, TrainingRun
from unsam_cli.training.skipped import Skipped
from unsam_cli.training.task import Batch, Validated
from unsam_cli.training.trainer import train

STEP = Step("toy", {"width": 8})


@dataclass
class ToyBatch:
    inputs: Tensor  # (B, 3)
    targets: Tensor  # (B,)
    weights: Tensor  # (B,)
    names: list[str]
    skipped: Sequence[Skipped] = ()

    def to(self, device: str) -> ToyBatch:
        inputs, targets, weights = self.inputs, self.targets, self.weights
        return ToyBatch(inputs.to(device), targets.to(device), weights.to(device), self.names)

    def pin_memory(self) -> ToyBatch:
        return self


class ToyModule(nn.Module):
    """Two layers; a third, which only inputs with a positive sum see."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 1)
        )
        self.extra = nn.Linear(3, 1)

    def forward(self, batch: ToyBatch, totals: Tensor) -> dict[str, Tensor]:
        found = self.layers(batch.inputs)[:, 0]
        if bool((batch.inputs.sum(1) > 2).any()):
            found = found + self.extra(batch.inputs)[:, 0] * (batch.inputs.sum(1) > 2)
        error = found - batch.targets
        return {
            "square": (batch.weights * error**2).sum() / totals[1],
            "size": 0.1 * found.abs().sum() / totals[0],
        }


@dataclass
class ToyTask:
    """Targets are a function of inputs, inputs of the index and, noise, of the seed."""

    samples: int = 11
    dropout: float = 0.0
    seconds: float = 0.0  # of every sample
    bad_index: int = -1  # cannot be read
    skipped_index: int = -1  # cannot be read, and is replaced
    deadly_index: int = -1  # kills the process that reads it
    nan_index: int = -1
    scores: list[float] = field(default_factory=list)  # of validations, in turn; else the loss
    module: nn.Module = field(init=False)

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        self.module = ToyModule(self.dropout)

    def __len__(self) -> int:
        return self.samples

    def sample(self, index: int, seed: int) -> tuple[Tensor, float, str]:
        time.sleep(self.seconds)
        if index == self.deadly_index:
            os.kill(os.getpid(), signal.SIGKILL)
        if index == self.bad_index:
            raise ImageFileError(f"{index}.png: cannot be decoded")
        inputs = torch.randn(3, generator=torch.Generator().manual_seed(index))
        inputs += 0.1 * torch.randn(3, generator=torch.Generator().manual_seed(seed))
        target = float("nan") if index == self.nan_index else float(inputs.prod())
        return inputs, target, f"{index}.png"

    def collate(self, samples: Sequence[tuple[Tensor, float, str]]) -> ToyBatch:
        inputs, targets, names = zip(*samples, strict=True)
        stacked = torch.stack(inputs)
        return ToyBatch(
            stacked,
            torch.tensor(targets),
            stacked[:, 0].abs() + 0.5,
            list(names),
            [Skipped(name, "damaged") for name in names if name == f"{self.skipped_index}.png"],
        )

    def begin(self, share: float) -> None:
        pass

    def amounts(self, batch: Batch) -> Tensor:
        assert isinstance(batch, ToyBatch)
        return torch.tensor([len(batch.names), float(batch.weights.sum())], dtype=torch.float64)

    def parameter_groups(self) -> list[dict[str, Any]]:
        biases = [p for p in self.module.parameters() if p.ndim == 1]
        rest = [p for p in self.module.parameters() if p.ndim > 1]
        return [
            {"params": biases, "lr_scale": 0.5, "weight_decay": 0.0},
            {"params": rest, "lr_scale": 1.0, "weight_decay": 0.05},
        ]

    def save(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        (folder / "config.json").write_text("{}")
        (folder / "unsam.json").write_text(json.dumps({"history": [STEP.to_json()]}))
        save_file({k: v.clone() for k, v in weights.items()}, folder / "model.safetensors")

    def validate(self, weights: Mapping[str, Tensor]) -> Validated:
        torch.rand(1)  # what a validation draws changes nothing
        norm = sum(float(w.double().square().sum()) for w in weights.values())
        return Validated({"score": self.scores.pop(0) if self.scores else -norm, "norm": norm})


def run(
    folder: Path,
    settings: Mapping[str, Any],
    *,
    resume: bool = False,
    step: Step = STEP,
    **of_task: Any,
) -> int:
    chosen: dict[str, Any] = {
        "steps": 12,
        "batch_size": 4,
        "lr": 0.01,
        "clip": 1.0,
        "checkpoint_every": 5,
        "log_every": 2,
        "validate_every": 0,
        "device": "cpu",
        "jobs": 0,
    }
    made = TrainerSettings(**{**chosen, **settings})
    return train(ToyTask(**of_task), made, TrainingRun(step, folder, resume))


def run_and_exit(
    folder: Path,
    settings: Mapping[str, Any],
    options: Mapping[str, Any],
    environment: dict[str, str],
) -> None:
    """Do it in a process of its own; the exit code is the command's, errors go to a file."""
    os.environ.update(environment)
    try:
        sys.exit(run(folder, settings, **options))
    except UnsamError as e:
        with folder.with_name(f"{folder.name}.txt").open("a") as stream:
            stream.write(f"{e}\n")
        sys.exit(e.exit_code)


def start(
    folder: Path,
    settings: Mapping[str, Any],
    environment: Mapping[str, str] | None = None,
    **options: Any,
) -> BaseProcess:
    """Start a process that trains; torch is loaded once for all of them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch._dynamo", "unsam_cli.training.trainer"])
    process = context.Process(
        target=run_and_exit, args=(folder, dict(settings), options, dict(environment or {}))
    )
    process.start()
    return process


def finish(process: BaseProcess, seconds: float = 60) -> int | None:
    """Wait for a process, and return its exit code."""
    process.join(seconds)
    if process.is_alive():
        process.kill()
        raise TimeoutError
    return process.exitcode


def last_checkpoint(folder: Path) -> Path:
    return max((folder / "checkpoints").glob("step-*"))


def weights_of(folder: Path) -> dict[str, Tensor]:
    """Weights of the last checkpoint."""
    weights: dict[str, Tensor] = load_file(last_checkpoint(folder) / "model.safetensors")
    return weights


def contents(folder: Path) -> dict[str, Any]:
    """Return all that must not depend on interruptions: bytes of files, and the last state."""
    files = [*folder.glob("*"), *last_checkpoint(folder).glob("*")]
    found: dict[str, Any] = {
        str(f.relative_to(folder)): f.read_bytes() for f in files if f.suffix and f.is_file()
    }
    for name in list(found):
        if name.endswith("sums.json"):
            del found[name]
        elif name.endswith("state.pt"):  # pickles of equal objects need not be equal
            found[name] = _plain(torch.load(folder / name, weights_only=True))
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def metrics_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def wait_for_steps(folder: Path, process: BaseProcess, steps: int) -> None:
    """Wait until the metrics tell of so many steps."""
    for _ in range(1500):
        lines = metrics_of(folder) if (folder / "metrics.jsonl").exists() else []
        if not process.is_alive() or (lines and lines[-1]["step"] >= steps):
            return
        time.sleep(0.02)
    raise TimeoutError


if __name__ == "__main__":
    run_and_exit(Path(sys.argv[1]), json.loads(sys.argv[2]), {}, {})
