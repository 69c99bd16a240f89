"""JSON texts that can be read in parts: plain files, and decompressed copies."""

from __future__ import annotations

import gzip
import os
import re
import tempfile
import weakref
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, Protocol

from unsam_cli.errors import MachineError, MaskFileError, MissingInputError
from unsam_cli.io.files import check_regular, files_below, unreadable
from unsam_cli.io.scratch import keep, pieces, scratch

_DAMAGED = (
    *(EOFError, OSError, ValueError, RuntimeError, NotImplementedError),
    *(zlib.error, zipfile.BadZipFile),
)
_GZIP = b"\x1f\x8b"
_ZIP = b"PK\x03\x04"
_HIDDEN = re.compile(r"(^|/)(\.|__MACOSX/)")
"""Members of a ZIP that programs hide in it, such as macOS."""


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
        """Decompress a file: gzip, or a ZIP of one JSON file.

        Raises
        ------
        MaskFileError
            The file is damaged or cannot be read, or a ZIP has several JSON files or none.
        MachineError
            There is no space for the temporary file.
        """
        with scratch(name):
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 - for as long as this lives
                weakref.finalize(self, self._file.close)
        begin = self._file.seek(0, os.SEEK_END)
        with path.open("rb") as stream:
            try:
                plain: Any = _json_of_zip(stream, name) or gzip.GzipFile(fileobj=stream)
                keep(pieces(plain), self._file, name)
            except (MachineError, MaskFileError):
                raise
            except _DAMAGED as error:
                raise _unreadable(name, error) from error
        return SpoolSource(name, self._file, begin)


def zip_content(file: Path | IO[bytes], name: str) -> tuple[list[str], list[str]]:
    """Return the names of all files in a ZIP, and of the JSON files that a person put there.

    Raises
    ------
    MaskFileError
        The ZIP, which messages call `name`, is damaged.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except _DAMAGED as error:
        raise _unreadable(name, error) from error
    found = [one for one in names if one.lower().endswith(".json") and not _HIDDEN.search(one)]
    return names, found


def _unreadable(name: str, error: Exception) -> MaskFileError:
    return MaskFileError(f"{name}: cannot be read ({error}); copy the file again")


def _json_of_zip(stream: IO[bytes], name: str) -> IO[bytes] | None:
    """Return the one JSON file in a ZIP; None if the stream is no ZIP."""
    is_zip = stream.read(4) == _ZIP
    stream.seek(0)
    if not is_zip:
        return None
    _, found = zip_content(stream, name)
    if len(found) > 1:
        raise MaskFileError(
            f"{name}: is a ZIP of {len(found)} JSON files, such as {' and '.join(found[:2])}; "
            "unpack it, and give one of them"
        )
    if not found:
        raise MaskFileError(f"{name}: is a ZIP without a JSON file; give a COCO file of masks")
    return zipfile.ZipFile(stream).open(found[0])


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
    return spool.add(plain.name, path) if plain.read_at(0, 4).startswith((_GZIP, _ZIP)) else plain


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
