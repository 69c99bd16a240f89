"""Metrics of a training: ``metrics.jsonl`` and TensorBoard event files."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

from unsam_cli.errors import OutputError, UsageError
from unsam_cli.run.output import output_error
from unsam_cli.run.own_files import open_own, write_all

logger = logging.getLogger(__name__)


class MetricsLog:
    """A file of JSON lines, one per logged step, independent of time and of interruptions.

    The file is locked while it is open; the lock protects the whole folder.

    Parameters
    ----------
    path : Path
        ``metrics.jsonl``.

    Raises
    ------
    OutputError
        The file cannot be written, or another process is writing it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.board: Any = None
        try:
            self.stream = open_own(path)
        except OSError as e:
            raise output_error(path, e) from e
        self._lock()

    def _lock(self) -> None:
        try:
            # Not flock: workers inherit that, and outlive a killed trainer for some seconds.
            fcntl.lockf(self.stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as e:
            self.stream.close()
            raise OutputError(
                f"{self.path.parent}: another process is training there; wait for it, or choose "
                "another folder"
            ) from e
        except OSError:  # a file system without locks
            logger.info("%s cannot be locked", self.path)

    def rewind(self, step: int, *, tensorboard: bool) -> None:
        """Remove all lines after `step`, from which the run continues; drop damaged lines."""
        self.stream.seek(0)
        lines = self.stream.readlines()
        steps = [_step(line) for line in lines]
        kept = [
            line for line, at in zip(lines, steps, strict=True) if at is not None and at <= step
        ]
        if lines[: len(kept)] != kept:
            logger.warning("%s: ignored damaged lines", self.path)
            self.stream.truncate(0)
            write_all(self.stream, b"".join(kept))
        self.stream.truncate(sum(map(len, kept)))
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(self.path.parent / "tensorboard", purge_step=step + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append the line of a step.

        Raises
        ------
        OutputError
            The file cannot be written, for instance because the disk is full.
        """
        try:
            self.stream.write(orjson.dumps({"step": step, **values}) + b"\n")
        except OSError as e:
            raise output_error(self.path, e) from e
        if self.board is not None:
            for name, value in values.items():
                self.board.add_scalar(name, value, step)

    def sync(self) -> None:
        """Wait until all lines are on the disk."""
        os.fsync(self.stream.fileno())

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stream.close()
        if self.board is not None:
            self.board.close()


def _step(line: bytes) -> int | None:
    """Return the step of a line; None if it is damaged."""
    try:
        step = orjson.loads(line)["step"] if line.endswith(b"\n") else None
    except (ValueError, TypeError, KeyError):
        return None
    return step if isinstance(step, int) else None


class Mean:
    """The mean of values over the steps since the last line."""

    def __init__(self, sums: Mapping[str, float] | None = None, count: int = 0) -> None:
        self.sums, self.count = dict(sums or {}), count

    def add(self, values: Mapping[str, float]) -> None:
        """Add the values of a step."""
        self.sums = {k: self.sums.get(k, 0.0) + v for k, v in values.items()}
        self.count += 1

    def take(self) -> dict[str, float]:
        """Return the means, and reset them."""
        means = {k: v / self.count for k, v in self.sums.items()}
        self.sums, self.count = {}, 0
        return means

    def state(self) -> dict[str, Any]:
        """Return the keyword arguments that recreate this mean."""
        return {"sums": self.sums, "count": self.count}


def check_tensorboard() -> None:
    """Check that TensorBoard is installed.

    Raises
    ------
    UsageError
        It is not installed.
    """
    if find_spec("tensorboard") is None:
        raise UsageError("TensorBoard is not installed: pip install tensorboard")
