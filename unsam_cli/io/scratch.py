"""Temporary files, for data that cannot be read in parts or written in place."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from unsam_cli.errors import MachineError, OutputError, UnsamError, shortage

_CHUNK = 2**20


def scratch_error(what: str, e: OSError) -> MachineError:
    """Return an error of a temporary file as one line that names its folder."""
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError:  # no folder is writable
        folder = os.environ.get("TMPDIR", "/tmp")
    reason = (shortage(e) or e.strerror or str(e)).split("; ")[0]
    return MachineError(
        f"{what} cannot be stored in {folder}: {reason}; free disk space there, or set "
        "TMPDIR to another folder"
    )


@contextmanager
def scratch(what: str) -> Iterator[None]:
    """Turn an OSError of a temporary file that holds `what` into an error of one line.

    Raises
    ------
    MachineError
        There is no space or no permission, or too many files are open.
    """
    try:
        yield
    except OutputError as e:  # an output that is stored temporarily
        if isinstance(e.__cause__, OSError):
            raise scratch_error(what, e.__cause__) from e
        raise
    except (UnsamError, BrokenPipeError):
        raise
    except OSError as e:
        raise scratch_error(what, e) from e


@contextmanager
def scratch_folder(what: str) -> Iterator[Path]:
    """Create a temporary folder for `what`, which is removed afterwards.

    Raises
    ------
    MachineError
        The folder cannot be created.
    """
    with ExitStack() as stack:
        with scratch(what):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="unsam-"))
        yield Path(folder)


def pieces(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield the content of a stream in pieces of at most 1 MiB."""
    return iter(lambda: stream.read(_CHUNK), b"")


def keep(source: Iterable[bytes], target: IO[bytes], what: str) -> int:
    """Copy chunks to a temporary file, and return the number of bytes.

    Raises
    ------
    MachineError
        The temporary file cannot be written. Errors of `source` are not changed.
    """
    total = 0
    for chunk in source:
        with scratch(what):
            target.write(chunk)
        total += len(chunk)
    with scratch(what):
        target.flush()
    return total
