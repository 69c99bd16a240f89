"""JSON texts that can be read in parts: plain files, and decompressed copies."""

from __future__ import annotations

import gzip
import os
import tempfile
import weakref
import zlib
from pathlib import Path
from typing import IO, Any, Protocol

from unsam_cli.errors import MachineError, MaskFileError, MissingInputError
from unsam_cli.io.files import check_regular, files_below, unreadable
from unsam_cli.io.scratch import keep, pieces, scratch

_GZIP = b"\x1f\x8b"


class Source(Protocol):
    """A text that can be read in parts, from any thread."""

    name: str

    def read_at(self, start: int, size: int) -> bytes:
        """Read `size` bytes from `start` on, fewer at the end."""


class FileSource:
    """A file that is open only while it is read, since a folder may hold thousands."""

    def __init__(self, path: Path, name: str | None = None) -> None:
        self.path = path
        self.name = name or str(path)

    def read_at(self, start: int, size: int) -> bytes:
        """Read `size` bytes from `start` on, fewer at the end."""
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
            try:
                return os.pread(handle, size, start)
            finally:
                os.close(handle)
        except (OSError, ValueError) as error:
            raise unreadable(self.name, error, MaskFileError) from None


class SpoolSource:
    """A part of a temporary file."""

    def __init__(self, name: str, spool: IO[bytes], begin: int) -> None:
        self.name = name
        self._spool, self._begin = spool, begin
        self._size = spool.seek(0, os.SEEK_END) - begin

    def read_at(self, start: int, size: int) -> bytes:
        """Read `size` bytes from `start` on, fewer at the end."""
        size = min(size, self._size - start)
        return os.pread(self._spool.fileno(), size, self._begin + start) if size > 0 else b""


class Spool:
    """A temporary file for texts that cannot be read in parts in place; removed with the object."""

    _file: IO[bytes] | None = None

    def add(self, name: str, path: Path) -> SpoolSource:
        """Decompress a file.

        Raises
        ------
        MaskFileError
            The file is damaged or cannot be read.
        MachineError
            There is no space for the temporary file.
        """
        with scratch(name):
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 - for as long as this lives
                weakref.finalize(self, self._file.close)
        begin = self._file.seek(0, os.SEEK_END)
        with path.open("rb") as stream:
            plain: Any = gzip.GzipFile(fileobj=stream)
            try:
                keep(pieces(plain), self._file, name)
            except MachineError:
                raise
            except (EOFError, OSError, ValueError, zlib.error) as error:
                raise MaskFileError(
                    f"{name}: cannot be read ({error}); copy the file again"
                ) from error
        return SpoolSource(name, self._file, begin)


def open_path(path: Path, spool: Spool, name: str | None = None) -> Source:
    """Open a file, plain or compressed; `name` is its name in messages instead of its path.

    Raises
    ------
    MissingInputError
        The file does not exist.
    MaskFileError
        The file cannot be read.
    """
    plain = FileSource(path, name)
    check_regular(path, name, MaskFileError)
    return spool.add(plain.name, path) if plain.read_at(0, 2) == _GZIP else plain


def json_files(folder: Path) -> list[Path]:
    """Return all ``.json`` and ``.json.gz`` files below a folder, sorted bytewise, none hidden.

    Raises
    ------
    MissingInputError
        The folder has no such file.
    """
    found = [folder / name for name in files_below(folder, (".json", ".json.gz"))]
    if not found:
        raise MissingInputError(f"{folder}: has no .json files; give a folder of masks files")
    return sorted(found, key=os.fsencode)
