"""Temporary files: what cannot be read in parts, or not yet be written, where it is."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO

from unsam_cli.errors import MachineError, UnsamError, shortage

_CHUNK = 2**20


def scratch_error(what: str, e: OSError) -> MachineError:
    """Return an error of a temporary file as one line that names its folder."""
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError:  # none can be written to
        folder = os.environ.get("TMPDIR", "/tmp")
    reason = (shortage(e) or e.strerror or str(e)).split("; ")[0]
    return MachineError(
        f"{what} cannot be kept in {folder}: {reason}; make room there, or set TMPDIR to another "
        "folder"
    )


@contextmanager
def scratch(what: str) -> Iterator[None]:
    """Turn an OSError, of a temporary file that holds `what`, into one line.

    Raises
    ------
    MachineError
        No space, no permission, too many open files.
    """
    try:
        yield
    except (UnsamError, BrokenPipeError):
        raise
    except OSError as e:
        raise scratch_error(what, e) from e


def pieces(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield the content of a stream in pieces of no more than a mebibyte."""
    return iter(lambda: stream.read(_CHUNK), b"")


def keep(source: Iterable[bytes], target: IO[bytes], what: str) -> int:
    """Copy chunks to a temporary file, and return the number of bytes.

    Raises
    ------
    MachineError
        The temporary file cannot be written; what `source` raises is left as it is.
    """
    total = 0
    for chunk in source:
        with scratch(what):
            target.write(chunk)
        total += len(chunk)
    with scratch(what):
        target.flush()
    return total
