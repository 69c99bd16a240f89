"""Progress reports of a training; imports nothing heavy."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Protocol

from unsam_cli.run.progress import INTERVAL, LineReporter


class TrainingReporter(Protocol):
    """Context manager that receives the progress of a training."""

    def advance(self, values: Mapping[str, float]) -> None:
        """Count a step; `values` has ``loss`` and its parts, ``lr``, and ``memory`` in bytes."""

    def validated(self, values: Mapping[str, float]) -> None:
        """Report the results of a validation."""

    def __enter__(self) -> TrainingReporter: ...

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None: ...


TrainingReporterFactory = Callable[[str, int, int, int], TrainingReporter]


class TrainingLines:
    """Logs a plain line about every 30 s and one at the end, for batch jobs.

    Parameters
    ----------
    stage : str
        Name of the command, with which lines begin.
    done, total : int
        Number of steps of earlier runs, and of all steps.
    batch_size : int
        Images per step.
    """

    def __init__(self, stage: str, done: int, total: int, batch_size: int) -> None:
        self.stage, self.total, self.batch_size = stage, total, batch_size
        self.first = self.done = self.last_done = done
        self.start = self.last = time.monotonic()
        self.values: dict[str, float] = {}
        self.validation: dict[str, float] = {}

    def advance(self, values: Mapping[str, float]) -> None:
        """Count a step; log a line if the last one is long ago."""
        self.done += 1
        self.values = dict(values)
        if time.monotonic() - self.last >= INTERVAL and self.done < self.total:
            self._log_progress()

    def validated(self, values: Mapping[str, float]) -> None:
        """Log the results of a validation."""
        self.validation = dict(values)
        text = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        self._log(f"{self.stage}: step {self.done}, validation: {text}", validation=self.validation)

    def speed(self) -> float:
        """Return images per second since the last line."""
        seconds = max(time.monotonic() - self.last, 1e-9)
        return (self.done - self.last_done) * self.batch_size / seconds

    def seconds_left(self) -> float:
        """Return the estimated remaining time in seconds, at the average speed."""
        seconds = time.monotonic() - self.start
        return (self.total - self.done) * seconds / max(self.done - self.first, 1)

    def _log_progress(self) -> None:
        if self.first == self.total:
            self._log(f"{self.stage}: complete, all {self.total} steps were already done")
            return
        text = f"{self.stage}: step {self.done}/{self.total}"
        if self.values:
            text += f", loss {self.values['loss']:.4g}, learning rate {self.values['lr']:.3g}"
            text += f", {self.speed():.3g} images/s"
            text += f", peak memory {self.values['memory'] / 2**20:.0f} MiB"
        if self.done < self.total:
            text += f", {duration(self.seconds_left())} left"
        else:
            text += f", {time.monotonic() - self.start:.1f} s"
        self._log(text, images_per_second=round(self.speed(), 4), **self.values)
        self.last, self.last_done = time.monotonic(), self.done

    def _log(self, text: str, **more: object) -> None:
        fields = {"stage": self.stage, "done": self.done, "total": self.total, **more}
        logging.getLogger(LineReporter.logger_name).info(text, extra={"fields": fields})

    def _tell_first(self) -> None:
        """Report at the start where a resumed training continues."""
        if 0 < self.first < self.total:
            self._log(f"{self.stage}: continues after step {self.first} of {self.total}")

    def __enter__(self) -> TrainingLines:
        self._tell_first()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._log_progress()


def duration(seconds: float) -> str:
    """Return a time as ``45 s``, ``12 min`` or ``3 h 05 min``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
