"""The trainer: steps, checkpoints and logs; a :class:`Task` defines what is trained."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from unsam_cli.errors import EXIT_SKIPPED, InterruptError, StoppedError, UnsamError
from unsam_cli.models.precision import precision
from unsam_cli.run.resources import usable_cpus
from unsam_cli.run.signals import stop_on_signals
from unsam_cli.training.checkpoint_files import Checkpoint, load_checkpoint
from unsam_cli.training.checkpoints import METRICS, RunFolder
from unsam_cli.training.distributed import World, join_world
from unsam_cli.training.learner import Learner
from unsam_cli.training.loading import WorkerKilledError, is_of_a_worker, load_batches
from unsam_cli.training.metrics import Mean, MetricsLog, check_tensorboard
from unsam_cli.training.progress import TrainingReporter, TrainingReporterFactory
from unsam_cli.training.sampler import Sampler
from unsam_cli.training.settings import TrainerSettings, TrainingRun
from unsam_cli.training.skipped import Skipped, SkippedList, restored
from unsam_cli.training.task import Batch, Task

logger = logging.getLogger(__name__)


def train(task: Task[Any], settings: TrainerSettings, run: TrainingRun) -> int:
    """Train `task` in this process, together with others started by `torchrun` or `srun`.

    Parameters
    ----------
    task : Task
        The model, its data and its losses.
    settings : TrainerSettings
        Length, optimizer, schedule and records.
    run : TrainingRun
        Output folder, see `unsam_cli.training.checkpoints`.

    Returns
    -------
    int
        Exit code, in all processes: 0, or 3 if anything was skipped. An `UnsamError` is raised in
        the main process only; other processes return its exit code.

    Raises
    ------
    UnsamError
        A loss is not finite, a sample cannot be read, or the folder cannot be written.
    UsageError
        The folder is in use, or was used with other settings.
    StoppedError
        SIGTERM or SIGUSR1 arrived; the state is saved.
    """
    if settings.tensorboard:
        check_tensorboard()
    torch.set_num_threads(min(torch.get_num_threads(), usable_cpus()))
    with join_world(settings.device) as world:
        settings = replace(settings, dtype=precision(settings.dtype, world.device))
        try:
            with Trainer(task, settings, world, run) as trainer:
                trainer.start(resume=run.resume)
                trainer.run(run.report)
                return EXIT_SKIPPED if trainer.skipped.every else 0
        except UnsamError as e:
            if world.is_main:
                raise
            return e.exit_code
        except torch.OutOfMemoryError as e:
            raise UnsamError(
                "the GPU is out of memory; use a larger --accumulate, --dtype bfloat16, or "
                "--checkpoint-activations (whole-image segmenters)"
            ) from e
        except RuntimeError as e:
            if not is_of_a_worker(e):
                raise
            raise WorkerKilledError from e


class Trainer(ExitStack):
    """A running training; a context manager that closes its files.

    Attributes
    ----------
    done : int
        Number of steps that are done.
    best : dict, optional
        ``step`` and ``value`` of the best validation.
    skipped : SkippedList
        Images that could not be read, and annotations that were left out.
    """

    def __init__(
        self, task: Task[Any], settings: TrainerSettings, world: World, run: TrainingRun
    ) -> None:
        super().__init__()
        self.task, self.settings, self.world = task, settings, world
        self.folder = RunFolder(run.folder)
        self.name = run.step.command
        self.identity = {**run.step.to_json(), "trainer": settings.identity(len(task))}
        self.total = settings.total_steps(len(task))
        self.batch = settings.per_process(world.size)
        self.done = 0
        self.best: dict[str, Any] | None = None
        self.mean = Mean()
        self.skipped = SkippedList(run.folder, self.name, run.skipped)
        self.metrics: MetricsLog | None = None

    def start(self, *, resume: bool) -> None:
        """Open the folder and restore the last checkpoint, if any."""
        self.stop = self.enter_context(stop_on_signals())
        last = self.world.on_main(lambda: self._open(resume))
        self.learner = Learner(self.task, self.settings, self.world)
        if last is not None:
            checkpoint = load_checkpoint(last, self.identity)
            self.learner.load(checkpoint, last)
            self.done, self.best = checkpoint.state["step"], checkpoint.state["best"]
            self.mean = Mean(**checkpoint.state["mean"])
            self.skipped.add(restored(checkpoint.state["skipped"]) or ())
            self.world.on_main(lambda: self._publish_again(checkpoint))
        self.world.on_main(self.skipped.rewrite)
        if self.metrics is not None:
            self.metrics.rewind(self.done, tensorboard=self.settings.tensorboard)

    def _open(self, resume: bool) -> Path | None:
        self.folder.open(resume=resume)
        self.metrics = self.enter_context(MetricsLog(self.folder.path / METRICS))
        return self.folder.last()

    def _publish_again(self, last: Checkpoint) -> None:
        """If a file of the model is missing, write the model again from its checkpoint."""
        gone = self.folder.gone()
        if not gone:
            return
        step = self.best["step"] if self.best else self.done
        found = step != self.done and self.folder.of_step(step).exists()
        source = self.folder.of_step(step if found else self.done)
        chosen = load_checkpoint(source, self.identity) if found else last
        # Loaded into the module, which knows which weights are the same tensor.
        self.learner.load(chosen, source)
        self.folder.publish(lambda folder: self.task.save(folder, self.learner.weights))
        self.learner.load(last, self.folder.of_step(self.done))
        logger.warning(
            "%s: %s is missing; writing the model again from the checkpoint of step %d",
            *(self.folder.path, ", ".join(gone), chosen.state["step"]),
        )

    def run(self, report: TrainingReporterFactory) -> None:
        """Make the remaining steps.

        Raises
        ------
        StoppedError
            A signal asked to stop; the state is saved.
        """
        # Forks workers, so before a live display starts threads; they end with this object.
        batches = self.enter_context(closing(self._read_ahead()))
        progress: TrainingReporter | None = None
        if self.world.is_main:
            progress = self.enter_context(
                report(self.name, self.done, self.total, self.settings.batch_size)
            )
        try:
            self._make_steps(batches, progress)
        except KeyboardInterrupt:
            raise InterruptError(
                f"{self.name}: stopped by Ctrl-C after step {self.done} of {self.total}; run again "
                "with --resume, which continues from the last checkpoint"
            ) from None
        if self.done < self.total:
            self._save()
            raise StoppedError(self._stopped_text())

    def _make_steps(
        self, batches: Iterator[Batch | UnsamError], progress: TrainingReporter | None
    ) -> None:
        while self.done < self.total and not self.world.any(bool(self.stop)):
            values = self.learner.update(self.done, self._next(batches))
            self.done += 1
            self._log(values, progress)
            if self._is_due(self.settings.validate_every):
                self._validate(progress)
                self._save()
            elif self._is_due(self.settings.checkpoint_every):
                self._save()

    def _read_ahead(self) -> Generator[Batch | UnsamError, None, None]:
        sampler = Sampler(
            len(self.task),
            self.batch,
            self.settings.accumulate,
            self.world.rank,
            self.world.size,
            self.settings.seed,
        )
        return load_batches(
            self.task,
            sampler.batches(self.done, self.total),
            jobs=self.settings.workers,
            pin=self.world.device.startswith("cuda"),
        )

    def _next(self, batches: Iterator[Batch | UnsamError]) -> list[Batch]:
        """Return this process's batches of a step; if one process has an error, all raise it."""
        fetched = [next(batches) for _ in range(self.settings.accumulate)]
        error = next((b for b in fetched if isinstance(b, UnsamError)), None)
        read = [batch for batch in fetched if not isinstance(batch, UnsamError)]
        skipped = self.skipped.new(one for batch in read for one in batch.skipped)
        if self.world.any(error is not None or bool(skipped)):
            self.world.raise_first(error)
            self._note_skipped(skipped)
        return read

    def _note_skipped(self, mine: Sequence[Skipped]) -> None:
        new = self.skipped.add(one for found in self.world.gather(mine) for one in found)
        self.world.on_main(lambda: self.skipped.write(new))

    def _is_due(self, every: int) -> bool:
        return every > 0 and (self.done % every == 0 or self.done == self.total)

    def _log(self, values: dict[str, float], progress: TrainingReporter | None) -> None:
        self.mean.add(values)
        if progress is not None:
            progress.advance({**values, "memory": self.world.peak_memory()})
        if self._is_due(self.settings.log_every):
            means = self.mean.take()
            if self.metrics is not None:
                self.metrics.write(self.done, {**means, "lr": values["lr"]})

    def _validate(self, progress: TrainingReporter | None) -> None:
        """Evaluate the weights, and note whether they are the best so far."""
        measured, skipped = self.world.on_main(lambda: self.task.validate(self.learner.weights))
        self._note_skipped(skipped)
        self.learner.module.train()
        values = {name: float(value) for name, value in measured.items()}
        for value in list(values.values())[:1]:
            if self.best is None or value > self.best["value"]:
                self.best = {"step": self.done, "value": value}
        if self.metrics is not None and progress is not None:
            self.metrics.write(self.done, {f"validation/{k}": v for k, v in values.items()})
            progress.validated(values)

    def _save(self) -> None:
        """Publish the model if it is the best or none was validated, then write a checkpoint.

        The order matters: if a run is killed in between, the resumed one repeats the steps since
        the last checkpoint and publishes this model again.
        """
        self.world.on_main(self._save_alone)

    def _save_alone(self) -> None:
        weights = self.learner.weights
        if self.best is None or self.best["step"] == self.done:
            self.folder.publish(lambda folder: self.task.save(folder, weights))
        if self.metrics is not None:
            self.metrics.sync()
        state = {
            "step": self.done,
            "settings": self.identity,
            "best": self.best,
            "mean": self.mean.state(),
            "skipped": [tuple(one) for one in self.skipped.every],
            **self.learner.state(),
        }
        average = None if self.learner.average is None else self.learner.average.weights
        self.folder.save(self.done, Checkpoint(state, self.learner.module.state_dict(), average))
        best = self.best["step"] if self.best else None
        self.folder.prune(self.settings.keep, best)

    def _stopped_text(self) -> str:
        who = self.stop.signal_name or "a signal to another process"
        left = f"{self.total - self.done} steps left"
        return f"{self.name}: stopped by {who} with {left}; run again with --resume"
