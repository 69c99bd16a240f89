"""Logging and progress for the command line: everything that goes to stderr.

The library logs through ``logging.getLogger(__name__)`` and reports progress through a
:class:`~unsam_cli.run.progress.Reporter`; this module alone decides what that looks like: plain
lines, a live bar on a terminal, or one JSON object per line.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
import sys
import warnings
from types import TracebackType
from typing import Any, TextIO

from unsam_cli.run.progress import LineReporter, ReporterFactory


class JsonFormatter(logging.Formatter):
    """One JSON object per line; the `fields` of a record become keys."""

    def format(self, record: logging.LogRecord) -> str:
        """Return `record` as a line of JSON."""
        entry: dict[str, Any] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        entry.update(getattr(record, "fields", {}))
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


class PlainFormatter(logging.Formatter):
    """``unsam: warning: text``; progress and information go without a level."""

    def format(self, record: logging.LogRecord) -> str:
        """Return `record` as one line of text, control characters made visible."""
        level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        text = f"unsam: {level}{visible(record.getMessage())}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def visible(text: str) -> str:
    """Return `text` as one printable line: a file name cannot smuggle in terminal codes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to standard error as it is now: while a bar is drawn, lines appear above it."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:
        pass


class Once(logging.Filter):
    """Messages of a command, or of the stages of `run`.

    A warning that was said before is dropped, since one file may be read for several purposes.

    Attributes
    ----------
    options : dict of str
        What options of the stage at work are called in the whole run: messages then say so.
    """

    _OPTION = re.compile(r"(?<![\w.-])(--[a-z][a-z-]*)(?![\w.])( of [a-z][a-z-]*)?")

    def __init__(self) -> None:
        super().__init__()
        self.options: dict[str, str] = {}
        self.said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Rename options in a record; return whether to show it."""
        if record.levelno < logging.WARNING:
            return True
        text = self._OPTION.sub(self._name, record.getMessage())
        record.msg, record.args = text, None
        if record.levelno != logging.WARNING:
            return True
        again = text in self.said
        self.said.add(text)
        return not again

    def _name(self, found: re.Match[str]) -> str:
        """Return what an option is called, with the stage that it is said to be of."""
        option, owner = found[1], found[2] or ""
        return self.options.get(found[0]) or f"{self.options.get(option, option)}{owner}"


def configure(
    verbosity: int = 0, *, as_json: bool = False, once: logging.Filter | None = None
) -> None:
    """Send the library's log records to stderr.

    Parameters
    ----------
    verbosity : int
        Below 0 errors only; 0 warnings and progress; 1 information; 2 and more debugging.
    as_json : bool
        One JSON object per line.
    once : Filter, optional
        Drops what was said before.
    """
    handler = _Stderr()
    handler.setFormatter(JsonFormatter() if as_json else PlainFormatter())
    if once is not None:
        handler.addFilter(once)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    levels = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}
    package = logging.getLogger("unsam_cli")
    package.setLevel(levels.get(max(verbosity, -1), logging.DEBUG))
    progress = logging.getLogger(LineReporter.logger_name)
    progress.setLevel(logging.ERROR if verbosity < 0 else logging.INFO)
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # its errors are raised, too
    logging.captureWarnings(True)
    # Pillow warns about metadata that the picture does not need.
    warnings.filterwarnings("ignore", module="PIL")


class BarReporter(LineReporter):
    """A line that says what starts, a live bar (rich), then the same last line as in a log.

    Of several processes on one terminal only one draws a bar; the others write lines. The commands
    of a pipe do not meet: a bar is gone before the next command gets its input.
    """

    def __enter__(self) -> BarReporter:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        self._tell_kept()
        self._tell_start()
        self.terminal = _claimed_terminal()
        self.bar = Progress(
            "{task.description}",
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=self.terminal is None,
        )
        self.task = self.bar.add_task(self.stage, total=self.total)
        self.bar.start()
        return self

    def _tell_start(self) -> None:
        if self.total:
            fields = {"stage": self.stage, "total": self.total, "kept": self.kept}
            self._tell(f"{self.total} image{'s' * (self.total != 1)} to do", fields)

    def advance(self, skipped: bool = False) -> None:
        """Count an item and move the bar."""
        if self.terminal is None:
            super().advance(skipped)
            return
        self.done += 1
        self.skipped += skipped
        self.bar.advance(self.task)

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.bar.stop()
        if self.terminal is not None:
            os.close(self.terminal)
        super().__exit__(kind, e, tb)


def _claimed_terminal() -> int | None:
    """Lock the terminal on standard error for one bar; None if another process has one there.

    The lock ends when the returned file is closed, or with the process.
    """
    with contextlib.suppress(OSError):
        terminal = os.open(os.ttyname(2), os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            fcntl.flock(terminal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(terminal)
        else:
            return terminal
    return None


def reporter_factory(*, plain: bool) -> ReporterFactory:
    """Choose how progress is shown: a live bar needs a terminal, and `plain` forbids it."""
    live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    return BarReporter if live and not plain else LineReporter
