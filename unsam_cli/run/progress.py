"""Telling how far a run is."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from unsam_cli.run.resources import peak_memory

INTERVAL = 30.0  # seconds between progress lines


class Reporter(Protocol):
    """Where a run tells how far it is; a context manager."""

    def advance(self, skipped: bool = False) -> None:
        """Count one item as done, or as skipped."""

    def __enter__(self) -> Reporter: ...

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None: ...


ReporterFactory = Callable[[str, int], Reporter]


class LineReporter:
    """A plain line about every 30 s and one at the end: what a batch log wants.

    Parameters
    ----------
    stage : str
        What is running, for the lines.
    total : int
        Items to do.
    """

    logger_name = "unsam_cli.progress"

    def __init__(self, stage: str, total: int) -> None:
        self.stage, self.total = stage, total
        self.done = self.skipped = 0
        self.start = self.last = time.monotonic()

    def advance(self, skipped: bool = False) -> None:
        """Count an item; now and then, log a line."""
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
        text = f"{self.stage}: {self.done}/{self.total} images, {rate:.3g}/s"
        text += (
            f", {seconds:.1f} s"
            if finished
            else f", {(self.total - self.done) / max(rate, 1e-9):.0f} s left"
        )
        text += f", peak memory {peak / 2**20:.0f} MiB"
        if self.skipped:
            text += f", {self.skipped} skipped"
        fields = {
            "stage": self.stage,
            "done": self.done,
            "total": self.total,
            "skipped": self.skipped,
            "seconds": round(seconds, 3),
            "images_per_second": round(rate, 4),
            "peak_memory_bytes": peak,
        }
        logging.getLogger(self.logger_name).info(text, extra={"fields": fields})

    def __enter__(self) -> LineReporter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._log(time.monotonic(), finished=True)
