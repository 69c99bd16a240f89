"""How to train, whatever is trained; imports nothing heavy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from unsam_cli.errors import UsageError

PAPER_STEPS = 200_000
PAPER_DROPS = (0.88888, 0.96296)
"""Steps 177 776 and 192 592 of 200 000, as published for UnSAM."""
SCHEDULES = ("step", "cosine")
DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class TrainerSettings:
    """Length, optimizer, schedule and records of a training.

    Parameters
    ----------
    steps : int, optional
        Updates of the weights.
    epochs : float, optional
        Passes over the samples, instead of `steps`. With neither, the 200 000 steps of the paper.
    batch_size : int
        Samples of one update, of all processes and accumulated batches together.
    accumulate : int
        Batches, one after the other, that a process divides its part of `batch_size` into.
    lr : float
        Learning rate of AdamW, after the warm-up and before any drop.
    schedule : {"step", "cosine"}
        Multiply the rate by 0.1 at each of `drops`, or let it fall along half a cosine wave.
    drops : tuple of float
        Steps, or fractions of all steps when below 1.
    lr_floor : float
        Where the cosine ends, a fraction of `lr`.
    warmup : int
        Steps in which the rate rises linearly.
    clip : float
        Largest L2 norm of the gradient of all weights together; 0 = do not clip.
    ema : float
        Decay of the moving average of the weights, which is then what is validated and published;
        0 = none.
    dtype : {"float32", "bfloat16"}
        What the forward pass computes in (autocast); weights are float32 in any case.
    seed : int
        Root of all random numbers.
    validate_every : int
        Steps between measurements on the validation set; 0 = never.
    checkpoint_every : int
        Steps between checkpoints.
    keep : int
        Newest checkpoints to keep, beside the best.
    log_every : int
        Steps that a line of ``metrics.jsonl`` averages over.
    tensorboard : bool
        Write event files, too.
    jobs : int
        Worker processes that read and augment, of each training process; 0 = do without.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises
    ------
    UsageError
        A value that cannot be.
    """

    steps: int | None = None
    epochs: float | None = None
    batch_size: int = 16
    accumulate: int = 1
    lr: float = 5e-5
    schedule: str = "step"
    drops: tuple[float, ...] = PAPER_DROPS
    lr_floor: float = 0.0
    warmup: int = 0
    clip: float = 0.01
    ema: float = 0.0
    dtype: str = "float32"
    seed: int = 0
    validate_every: int = 0
    checkpoint_every: int = 1000
    keep: int = 2
    log_every: int = 20
    tensorboard: bool = False
    jobs: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        self._check_numbers()
        if self.schedule not in SCHEDULES:
            raise UsageError(f"unknown schedule {self.schedule!r}; one of {', '.join(SCHEDULES)}")
        if self.dtype not in DTYPES:
            raise UsageError(f"cannot train in {self.dtype!r}; one of {', '.join(DTYPES)}")
        if any(not drop > 0 for drop in self.drops):
            raise UsageError(f"drops {self.drops} are not steps or fractions of all steps")

    def _check_numbers(self) -> None:
        if self.steps is not None and self.epochs is not None:
            raise UsageError("steps and epochs are both given; give one of them")
        for name in ("steps", "epochs", "lr"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise UsageError(f"{name} is {value}; more than 0")
        for name in ("batch_size", "accumulate", "checkpoint_every", "keep", "log_every"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; at least 1")
        for name in ("warmup", "clip", "validate_every", "jobs"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"{name} is {getattr(self, name)}; at least 0")
        if not 0 <= self.ema < 1 or not 0 <= self.lr_floor <= 1:
            raise UsageError(f"ema {self.ema} or lr_floor {self.lr_floor} is not a fraction")

    def total_steps(self, samples: int) -> int:
        """Return the number of steps of a training with `samples` in an epoch."""
        if self.epochs is not None:
            return math.ceil(self.epochs * samples / self.batch_size)
        return PAPER_STEPS if self.steps is None else self.steps

    def per_process(self, processes: int) -> int:
        """Return the samples of one batch of one of `processes`.

        Raises
        ------
        UsageError
            The samples of a step cannot be dealt out evenly.
        """
        parts = processes * self.accumulate
        if self.batch_size % parts:
            raise UsageError(
                f"a batch size of {self.batch_size} cannot be divided by {processes} processes x "
                f"{self.accumulate} accumulated batches; it counts the samples of all of them"
            )
        return self.batch_size // parts

    def identity(self, samples: int) -> dict[str, Any]:
        """Return what changes the weights: it must not differ when a training is resumed.

        Left out: processes, accumulation, device, workers, checkpoints and logs.
        """
        return {
            "samples": samples,
            "steps": self.total_steps(samples),
            "batch_size": self.batch_size,
            "lr": self.lr,
            "schedule": self.schedule,
            "drops": list(self.drops),
            "lr_floor": self.lr_floor,
            "warmup": self.warmup,
            "clip": self.clip,
            "ema": self.ema,
            "dtype": self.dtype,
            "seed": self.seed,
        }
