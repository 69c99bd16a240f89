"""Every error that a user can cause, each with its exit code.

A message is one line: what is wrong, in which file and record, and what to do next. Exit codes
follow ``sysexits.h`` where it has one. The single boundary that prints them is in
:mod:`unsam_cli.cli.program`.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_SKIPPED = 3
EXIT_DATA = 65
EXIT_NO_INPUT = 66
EXIT_IO = 74
EXIT_STOPPED = 75
EXIT_SIGINT = 130
EXIT_SIGPIPE = 141


class UnsamError(Exception):
    """Root of all errors raised on purpose; `exit_code` is what the process returns."""

    exit_code = EXIT_FAILURE


class UsageError(UnsamError, ValueError):
    """An option has a value that cannot work."""

    exit_code = EXIT_USAGE


class DataError(UnsamError, ValueError):
    """An input exists but its content is invalid."""

    exit_code = EXIT_DATA


class ImageFileError(DataError):
    """An image cannot be decoded, or lies about itself."""


class FeatureFileError(DataError):
    """A features file is damaged, incomplete or of an unknown version."""


class MaskFileError(DataError):
    """A masks file is not COCO, or one of its records is invalid."""


class CheckpointError(DataError):
    """Weights do not fit the model."""


class MissingInputError(UnsamError, FileNotFoundError):
    """A named input does not exist."""

    exit_code = EXIT_NO_INPUT


class WeightsUnavailableError(MissingInputError):
    """Weights are neither in the cache nor downloadable."""


class OutputError(UnsamError, OSError):
    """An output cannot be written."""

    exit_code = EXIT_IO


class StoppedError(UnsamError):
    """A signal asked to stop; the state is saved."""

    exit_code = EXIT_STOPPED


class InterruptError(StoppedError):
    """Ctrl-C asked to stop; finished images, or the last checkpoint, are kept."""

    exit_code = EXIT_SIGINT


class MachineError(UnsamError, OSError):
    """The machine is short of something, or fails: the file that was being read is not to blame.

    Parameters
    ----------
    text : str
        The message.
    exit_code : int
        What the process returns.
    everywhere : bool
        Whatever is done next will meet it, too.
    """

    exit_code = EXIT_IO

    def __init__(self, text: str, exit_code: int = EXIT_IO, *, everywhere: bool = True) -> None:
        super().__init__(text)
        self.exit_code, self.everywhere = exit_code, everywhere


_MEMORY = "out of memory; use fewer jobs or smaller images"
_SPACE = "no space left; free disk space"
_SHORTAGES = {
    errno.EMFILE: "too many open files; raise the limit (ulimit -n), or use fewer jobs",
    errno.ENFILE: "too many open files on this machine; close other programs",
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
}
_FAILURES = {
    number: f"cannot be read or written ({os.strerror(number)}); check the disk and its connection"
    for number in (errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ENODEV)
}
# How torch, the loader of shared libraries and Python's threads say that memory is short.
_NO_MEMORY = re.compile(
    "can't allocate memory|not enough memory|cannot allocate memory|can't start new thread"
    "|failed to map segment|bad_alloc|unable to allocate|out of memory",
    re.IGNORECASE,
)


# How HDF5, Rust (safetensors, tokenizers) and torch tell an error number in their text.
_NUMBERED = re.compile(r"errno = (\d+)|\(os error (\d+)\)|: [A-Z][a-z /]+ \((\d+)\)")


def errno_of(e: BaseException) -> int | None:
    """Return the error number of an OSError, or the one that a library tells in its text."""
    if isinstance(e, OSError) and e.errno is not None:
        return e.errno
    found = _NUMBERED.search(str(e))
    return int(found[found.lastindex or 0]) if found else None


def shortage(e: BaseException) -> str | None:
    """Say in words for people what the machine is short of, where an error tells that it is."""
    if _is_of_memory(e):
        gpu = "the GPU is out of memory; use smaller batches or smaller images"
        return gpu if "CUDA" in str(e) else _MEMORY
    return _SHORTAGES.get(errno_of(e) or 0)


def machine_error(e: BaseException) -> MachineError | None:
    """Return what the machine is short of, if that is behind an error; whoever caught it first.

    A reader tells that a file is damaged when it cannot be read; the cause of that error, which
    Python keeps, knows whether memory, space or file descriptors were at an end.
    """
    if isinstance(e, UnsamError) and not isinstance(e, UsageError | DataError | MissingInputError):
        return None
    subject = str(e).split(": ")[0] if isinstance(e, UnsamError) else ""
    for cause in _causes(e):
        number = errno_of(cause) or 0
        if isinstance(cause, OSError) and isinstance(cause.filename, str):
            subject = subject or cause.filename
        elif number in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            subject = subject or "standard output"  # it alone has no name
        where = f"{subject}: " if subject else ""
        found = None
        if (short := shortage(cause)) is not None:
            found = MachineError(where + short, EXIT_FAILURE if "memory" in short else EXIT_IO)
        elif number in _FAILURES:
            found = MachineError(where + _FAILURES[number], everywhere=False)
        if found is not None:
            found.__cause__ = e
            return found
    return None


def _causes(e: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = e
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def _is_of_memory(e: BaseException) -> bool:
    told = isinstance(e, RuntimeError | ImportError | OSError) and not isinstance(e, UnsamError)
    short = isinstance(e, MemoryError) or errno_of(e) == errno.ENOMEM
    return short or (told and bool(_NO_MEMORY.search(str(e))))


def counted(number: int, noun: str, nouns: str = "") -> str:
    """Return a number and its noun for a message; `nouns` is a plural that does not just add s."""
    return f"{number} {noun if number == 1 else nouns or f'{noun}s'}"
