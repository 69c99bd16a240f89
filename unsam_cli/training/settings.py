"""Settings of the training loop; imports nothing heavy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from unsam_cli.errors import UsageError
from unsam_cli.run.provenance import Step
from unsam_cli.run.resources import usable_cpus
from unsam_cli.settings import REQUIRED, Settings, device_setting, setting
from unsam_cli.training.progress import TrainingLines, TrainingReporterFactory

PAPER_STEPS = 200_000
PAPER_DROPS = (0.88888, 0.96296)
"""Fractions of all steps: 177 776 and 192 592 of 200 000, as published for UnSAM."""
SCHEDULES = ("step", "cosine")
DTYPES = ("auto", "float32", "bfloat16")
_MOST_JOBS = 8

reading = partial(setting, group="Input", results=False)
training = partial(setting, group="Training")
running = partial(setting, group="Run", results=False)
computing = partial(setting, group="Compute", results=False)


def images_setting() -> Any:
    """Declare the setting of the training images' folder."""
    return reading(REQUIRED, "Folder of the images.", folder=True)


def validate_setting() -> Any:
    """Declare the setting of the validation masks."""
    return reading(None, "Validate on these masks and keep the best checkpoint.", metavar="GT.json")


def validate_images_setting() -> Any:
    """Declare the setting of the validation images' folder."""
    return reading(None, "Folder of the images of --validate.  [default: --images]", folder=True)


@dataclass(frozen=True)
class TrainInputs(Settings):
    """Input files of `train`.

    Parameters
    ----------
    annotations : sequence of str
        Masks files with disjoint sets of images; one may be ``-``, standard input.
    """

    annotations: Sequence[str]
    images: Path = images_setting()
    init: str | None = reading(
        None,
        "Start from the network of a run or checkpoint; the options of the network are ignored.",
        metavar="CHECKPOINT",
    )
    validate: str | None = validate_setting()
    validate_images: Path | None = validate_images_setting()


@dataclass(frozen=True)
class TrainingRun(Settings):
    """Output folder of a training, and whether it is resumed.

    Parameters
    ----------
    step : Step
        The command and its options, which must be the same when a training is resumed.
    report : callable
        Creates a progress reporter, in the main process.
    skipped : sequence of Skipped
        What was left out before the training begins.
    """

    step: Step
    folder: Path = setting(
        REQUIRED,
        "Folder for the model, checkpoints and metrics.",
        group="Output",
        results=False,
        option="output",
        short="-o",
        metavar="FOLDER",
        folder=True,
    )
    resume: bool = running(False, "Continue from the last checkpoint.")
    report: TrainingReporterFactory = TrainingLines
    skipped: Sequence[Any] = ()


@dataclass(frozen=True)
class TrainerSettings(Settings):
    """Length, optimizer, schedule and logs of a training; the defaults are the published ones.

    With neither `steps` nor `epochs`, a training has the 200 000 steps of the paper.

    Raises
    ------
    UsageError
        A value is outside its range, or both `steps` and `epochs` are given.
    """

    epochs: float | None = training(None, "Number of passes over the images.", above=0)
    steps: int | None = training(None, "Number of weight updates, instead of --epochs.", least=1)
    batch_size: int = training(16, "Images per step, over all processes.", least=1)
    lr: float = training(5e-5, "Learning rate of AdamW.", above=0)
    schedule: str = training(
        "step",
        "Learning rate schedule: step multiplies the rate by 0.1 at each of --drops; "
        "cosine lowers it along a cosine.",
        choices=SCHEDULES,
    )
    drops: tuple[float, ...] = training(
        PAPER_DROPS,
        "Steps at which the rate drops; values below 1 are fractions of all steps.",
        above=0,
        metavar="LIST",
    )
    lr_floor: float = training(
        0.0, "Final learning rate of the cosine schedule, as a fraction of LR.", least=0, most=1
    )
    warmup: int = training(
        0, "Number of first steps in which the learning rate rises linearly.", least=0
    )
    clip: float = training(0.01, "Maximum L2 norm of the whole gradient; 0 does not clip.", least=0)
    ema: float = training(
        0.0,
        "Decay of the exponential moving average of the weights, which is validated and "
        "written instead of the weights; 0 is off.",
        least=0,
        below=1,
    )
    validate_every: int = running(
        1000, "With --validate: steps between validations; 0 never validates.", least=0
    )
    checkpoint_every: int = running(1000, "Steps between checkpoints.", least=1)
    keep: int = running(2, "Number of newest checkpoints to keep, besides the best.", least=1)
    log_every: int = running(20, "Number of steps averaged per line of metrics.jsonl.", least=1)
    tensorboard: bool = running(False, "Also write TensorBoard event files.")
    seed: int = setting(0, "Seed of all random numbers.", group="Run", least=0)
    jobs: int | None = computing(
        None,
        "Worker processes that read images, per training process; 0 reads in the training "
        "process.  [default: the CPUs this process may use, at most 8]",
        least=0,
    )
    accumulate: int = computing(
        1,
        "Number of batches whose gradients are accumulated per step; a larger one saves memory.",
        least=1,
    )
    device: str = device_setting()
    dtype: str = setting(
        "float32",
        "Precision of the forward pass; weights are always float32. auto is bfloat16 where the "
        "device has it.",
        choices=DTYPES,
        group="Compute",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps is not None and self.epochs is not None:
            raise UsageError("steps and epochs are both given; give one of them")

    @property
    def workers(self) -> int:
        """Number of worker processes per training process."""
        return min(usable_cpus(), _MOST_JOBS) if self.jobs is None else self.jobs

    def total_steps(self, samples: int) -> int:
        """Return the number of steps of a training with `samples` samples per epoch."""
        if self.epochs is not None:
            return math.ceil(self.epochs * samples / self.batch_size)
        return PAPER_STEPS if self.steps is None else self.steps

    def per_process(self, processes: int) -> int:
        """Return the number of samples per batch in each of `processes` processes.

        Raises
        ------
        UsageError
            The samples of a step cannot be divided evenly.
        """
        parts = processes * self.accumulate
        if self.batch_size % parts:
            raise UsageError(
                f"a batch size of {self.batch_size} (over all processes) is not divisible "
                f"by {processes} processes x {self.accumulate} accumulated batches"
            )
        return self.batch_size // parts

    def identity(self, samples: int) -> dict[str, Any]:
        """Return the settings that affect the weights, which must not change on resuming.

        Processes, accumulation, device, workers, checkpoints and logs are left out.
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
