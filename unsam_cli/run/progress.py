"""Progress reports of a run."""

from __future__ import annotations

import logging
import time
from types import TracebackType
from typing import Protocol

from unsam_cli.run.resources import peak_memory

INTERVAL = 30.0  # seconds between progress lines


class Reporter(Protocol):
    """Receives the progress of a run; a context manager."""

    def advance(self, skipped: bool = False) -> None:
        """Count one item as done, or as skipped."""

    def __enter__(self) -> Reporter: ...

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None: ...


class ReporterFactory(Protocol):
    """Makes a reporter; usually a reporter class."""

    def __call__(self, stage: str, total: int, kept: int = 0) -> Reporter:
        """Make a reporter for `total` images, besides those `kept` from an earlier run."""
        ...


class LineReporter:
    """A plain line about every 30 s and one at the end, for batch logs.

    Parameters
    ----------
    stage : str
        Name of the command in the lines.
    total : int
        Number of items to process.
    kept : int
        Number of items that an earlier run has finished.
    """

    logger_name = "unsam_cli.progress"

    def __init__(self, stage: str, total: int, kept: int = 0) -> None:
        self.stage, self.total, self.kept = stage, total, kept
        self.done = self.skipped = 0
        self.start = self.last = time.monotonic()

    def advance(self, skipped: bool = False) -> None:
        """Count an item, and log a line if the last one was long enough ago."""
        self.done += 1
        self.skipped += skipped
        now = time.monotonic()
        if now - self.last >= INTERVAL and self.done < self.total:
            self.last = now
            self._log(now, finished=False)

    def _log(self, now: float, *, finished: bool) -> None:
        seconds = max(now - self.start, 1e-9)
        rate = self.done / seconds
        peak = peak_memory()
        fields = {
            "stage": self.stage,
            "done": self.done,
            "total": self.total,
            "kept": self.kept,
            "skipped": self.skipped,
            "seconds": round(seconds, 3),
            "images_per_second": round(rate, 4),
            "peak_memory_bytes": peak,
        }
        if self.kept and not self.total:
            self._tell(f"complete, all {self.kept} images were already done", fields)
            return
        text = f"{self.done}/{self.total} images, {rate:.3g}/s"
        text += (
            f", {seconds:.1f} s"
            if finished
            else f", {(self.total - self.done) / max(rate, 1e-9):.0f} s left"
        )
        text += f", peak memory {peak / 2**20:.0f} MiB"
        if self.skipped:
            text += f", {self.skipped} skipped"
        if self.kept:
            text += f", {self.kept} kept from before"
        self._tell(text, fields)

    def _tell(self, text: str, fields: dict[str, object]) -> None:
        logging.getLogger(self.logger_name).info(f"{self.stage}: {text}", extra={"fields": fields})

    def _tell_kept(self) -> None:
        """Report at the start which images a resumed run keeps."""
        if self.kept and self.total:
            fields = {"stage": self.stage, "total": self.total, "kept": self.kept}
            text = f"keeping {self.kept} of {self.kept + self.total} images of an earlier run"
            self._tell(text, fields)

    def __enter__(self) -> LineReporter:
        self._tell_kept()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._log(time.monotonic(), finished=True)


class SilentReporter(LineReporter):
    """Says nothing: a function of the Python API has no place for lines."""

    def _tell(self, text: str, fields: dict[str, object]) -> None:
        pass
