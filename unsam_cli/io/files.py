"""Read regular files, and check the kind of a file before it is opened.

Opening a named pipe waits for a writer, and reading a device may never end. Only :func:`chunks`
reads pipes, for input that is read once.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import stat
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from io import BufferedReader
from pathlib import Path

from unsam_cli.errors import DataError, MissingInputError, UnsamError, counted
from unsam_cli.io.suffixes import OTHER_PICTURES

logger = logging.getLogger(__name__)

_KINDS = (
    (stat.S_ISDIR, "folder"),
    (stat.S_ISFIFO, "named pipe"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)
_PATIENCE = 2.0  # seconds to wait until the other end of a pipe is opened
_CHUNK = 2**20
_ABSENT = (errno.ENOENT, errno.ENOTDIR)


def what_it_is(path: Path | str) -> str | None:
    """Return the kind of a path that is not a regular file (links followed); None if it is one.

    Raises
    ------
    OSError
        The kind cannot be determined.
    """
    mode = os.stat(path).st_mode
    return next((kind for holds, kind in _KINDS if holds(mode)), None)


def check_regular(
    path: Path | str, name: str | None = None, error: type[UnsamError] = DataError
) -> None:
    """Refuse anything but a regular file.

    Parameters
    ----------
    path : Path or str
        The file.
    name : str, optional
        Name in messages; its path by default.
    error : type of UnsamError
        Error to raise for a folder, pipe, socket or device.

    Raises
    ------
    MissingInputError
        No such file.
    UnsamError
        It is not a regular file.
    """
    name = name or str(path)
    try:
        kind = what_it_is(path)
    except (OSError, ValueError) as e:
        raise unreadable(name, e, error) from e
    if kind is not None:
        raise error(f"{name}: is a {kind}; give a file")


def open_regular(
    path: Path | str, name: str | None = None, error: type[UnsamError] = DataError
) -> BufferedReader:
    """Open a regular file for reading; never wait for it. See :func:`check_regular`."""
    check_regular(path, name, error)
    try:
        # Does not block even if the file has been replaced by a pipe since the check.
        return open(path, "rb", opener=lambda p, flags: os.open(p, flags | os.O_NONBLOCK))
    except (OSError, ValueError) as e:
        raise unreadable(name or str(path), e, error) from e


def refuse_special(path: Path | str, error: type[UnsamError] = DataError) -> None:
    """Refuse a pipe, socket or device in the place of a file or folder.

    A path that does not exist or cannot be checked passes: the function that reads it reports this.
    """
    try:
        kind = what_it_is(path)
    except (OSError, ValueError):
        return
    if kind not in (None, "folder"):
        raise error(f"{path}: is a {kind}; give a file or folder")


def unreadable(name: str, e: Exception, error: type[UnsamError] = DataError) -> UnsamError:
    """Return an error of type `error` for a file, `name`, that cannot be opened or read.

    Raise it from `e`: :func:`~unsam_cli.errors.machine_error` looks there for a lack of resources.
    """
    number = getattr(e, "errno", None)
    if number in _ABSENT:
        return MissingInputError(f"{name}: no such file")
    reason = getattr(e, "strerror", None) or e
    return error(f"{name}: cannot be read ({reason})")


def chunks(path: Path | str) -> Iterator[bytes]:
    """Yield the content of a regular file, or of a pipe such as ``<(...)`` in a shell.

    Raises
    ------
    UnsamError
        See :func:`check_regular`; or no process writes to the pipe.
    """
    try:
        kind = what_it_is(path)
    except (OSError, ValueError) as e:
        raise unreadable(str(path), e) from e
    if kind == "named pipe":
        yield from _pipe(str(path))
        return
    if os.path.realpath(path) == os.devnull:
        return
    with open_regular(path) as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk


def _pipe(name: str) -> Iterator[bytes]:
    handle = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
    try:
        yield _first_of_pipe(handle, name)
        os.set_blocking(handle, True)
        while chunk := os.read(handle, _CHUNK):
            yield chunk
    finally:
        os.close(handle)


def _first_of_pipe(handle: int, name: str) -> bytes:
    """Return the first bytes, or nothing once a writer has opened the other end."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        try:
            if chunk := os.read(handle, _CHUNK):
                return chunk
        except BlockingIOError:
            return b""
        time.sleep(0.02)
    raise DataError(f"{name}: is a named pipe without a writer; give a file")


def read_small(path: Path | str, most: int) -> bytes:
    """Return the content of a file, or of a pipe, of at most `most` bytes.

    Raises
    ------
    UnsamError
        The content is larger; or see :func:`chunks`.
    """
    content = bytearray()
    for chunk in chunks(path):
        content += chunk
        if len(content) > most:
            raise DataError(f"{path}: is larger than {most} bytes; is it the right file?")
    return bytes(content)


def files_below(folder: Path | str, suffixes: tuple[str, ...]) -> Iterator[str]:
    """Yield the files below a folder, as paths relative to it, in no particular order.

    Hidden files and folders are ignored. Other files that are not regular, links to folders, and,
    if images are searched, pictures of other kinds are ignored with a warning. Links to files are
    followed. A broken link is yielded, so that it is reported as a missing file.

    Parameters
    ----------
    folder : Path or str
        The folder.
    suffixes : tuple of str
        Ends of names in lower case, such as ``.json``.

    Raises
    ------
    MissingInputError
        A folder cannot be read, so files would be missing without notice.
    """
    pending, strange = [""], []
    left_out: Counter[str] = Counter()
    others = OTHER_PICTURES if ".jpg" in suffixes else {}
    while pending:
        inside = pending.pop()
        try:
            with os.scandir(os.path.join(folder, inside)) as found:
                entries = [entry for entry in found if not entry.name.startswith(".")]
        except OSError as e:
            raise MissingInputError(
                f"{e.filename}: cannot be read ({e.strerror}); change its permissions"
            ) from e
        for entry in entries:
            name = f"{inside}/{entry.name}" if inside else entry.name
            if entry.is_dir(follow_symlinks=False):
                pending.append(name)
            elif entry.name.lower().endswith(suffixes):
                # The system knows the kind of most entries; only links need another call.
                if entry.is_file(follow_symlinks=False) or _file_or_nothing(entry.path):
                    yield name
                elif not os.path.isdir(entry.path):
                    strange.append(entry.path)
            elif kind := _kind_left_out(entry, others):
                left_out[kind] += 1
    _tell_left_out(folder, left_out, strange)


def _kind_left_out(entry: os.DirEntry[str], others: Mapping[str, str]) -> str | None:
    """Return what an entry is that is left out but may be wanted."""
    if entry.is_symlink() and entry.is_dir():
        return "linked sub-folders (name them, too)"
    return others.get(os.path.splitext(entry.name)[1].lower())


def _tell_left_out(folder: Path | str, left_out: Counter[str], strange: list[str]) -> None:
    for kind, count in sorted(left_out.items()):
        logger.warning("%s: left out %s: %s", folder, counted(count, "entry", "entries"), kind)
    if strange:
        logger.warning(
            "ignored %s other than regular files, such as %s",
            *(counted(len(strange), "entry", "entries"), min(strange)),
        )


def _file_or_nothing(path: str) -> bool:
    return os.path.isfile(path) or not os.path.exists(path)


def file_identity(path: Path) -> str:
    """Return ``sha256:`` and the first 16 hex digits of the hash of the file's content."""
    with open_regular(path) as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()[:16]}"
