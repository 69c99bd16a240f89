"""Temporary files and folders next to outputs, safe from links and pipes with their names.

Temporary names are predictable, so that files of a killed run are found and removed. Other users
can predict them, too, and may create a link, a pipe or a hard link to another file there. Such a
file is never followed, waited for or written to.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

_SAFELY = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_TRIES = 100


class ForeignFileError(OSError):
    """The name of a temporary file is taken: by a link, a pipe or another user's file."""


def claim(path: Path, *, folder: bool = False) -> tuple[Path, int]:
    """Create an empty file, or an empty folder, that only this process uses.

    An existing file at this path is removed, unless another process holds it.

    Parameters
    ----------
    path : Path
        Path of the file or folder.
    folder : bool
        Create a folder.

    Returns
    -------
    place : Path
        Path of the result: `path`, or an unpredictable name next to it if files cannot be locked or
        the name is not available (a file of another user, or a folder in the place of a file).
    held : int
        File descriptor that holds the lock. The caller closes it.

    Raises
    ------
    BlockingIOError
        Another process holds it.
    OSError
        It cannot be created.
    """
    for _ in range(_TRIES):
        try:
            held = _create(path, folder)
        except FileExistsError:
            try:
                _remove_leftover(path, folder)
            except (PermissionError, IsADirectoryError, NotADirectoryError):
                return _claim_unguessable(path, folder)
            continue
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(held)
            raise
        except OSError:  # a file system without locks
            os.close(held)
            remove(path)
            return _claim_unguessable(path, folder)
        if is_at(held, path):  # and not removed by another process before it was locked
            return path, held
        os.close(held)
    raise BlockingIOError


def _create(path: Path, folder: bool) -> int:
    if not folder:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _SAFELY, 0o666)
    path.mkdir()
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | _SAFELY)


def _claim_unguessable(path: Path, folder: bool) -> tuple[Path, int]:
    place = path.with_name(f"{path.stem}.{secrets.token_hex(8)}{path.suffix}")
    return place, _create(place, folder)


def _remove_leftover(path: Path, folder: bool) -> None:
    """Remove the file at a temporary name; raise a BlockingIOError if a process holds it.

    A PermissionError is raised for a file of another user, in a folder such as ``/tmp``; and an
    IsADirectoryError or NotADirectoryError for a folder in the place of a file, or the reverse.
    """
    try:
        kind = os.lstat(path).st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            path.unlink()
            return
        held = os.open(path, (os.O_RDONLY | os.O_DIRECTORY if folder else os.O_RDWR) | _SAFELY)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # a file system without locks, where this name is used by nobody for long
        remove(path)
    else:
        if is_at(held, path):
            remove(path)
    finally:
        os.close(held)


def remove(path: Path) -> None:
    """Remove a file, a folder with its content, or a link, but not the target of a link."""
    with suppress(FileNotFoundError):
        if stat.S_ISDIR(os.lstat(path).st_mode):
            shutil.rmtree(path)
        else:
            path.unlink()


def is_at(held: int, path: Path) -> bool:
    """Whether an open file or folder is the one at a path."""
    try:
        return os.path.samestat(os.fstat(held), os.lstat(path))
    except FileNotFoundError:
        return False


def open_own(path: Path) -> BinaryIO:
    """Open a file of this user for reading and appending; create it if it is missing.

    Raises
    ------
    ForeignFileError
        It is a link, is not a regular file, has a second name, or belongs to another user.
    OSError
        It cannot be opened.
    """
    try:
        kind = os.lstat(path).st_mode  # a device may do something when it is opened
    except FileNotFoundError:
        kind = stat.S_IFREG
    if not stat.S_ISREG(kind):
        raise ForeignFileError(f"{path} is {_name_of_kind(kind)}")
    held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | _SAFELY, 0o666)
    try:
        found = os.fstat(held)
        if not stat.S_ISREG(found.st_mode):
            raise ForeignFileError(f"{path} is {_name_of_kind(found.st_mode)}")
        if found.st_nlink > 1:
            raise ForeignFileError(f"{path} has another hard link")
        _refuse_stranger(path, found)
        return os.fdopen(held, "a+b", buffering=0)
    except BaseException:
        os.close(held)
        raise


def write_all(stream: BinaryIO, data: bytes | memoryview) -> None:
    """Write all of `data` to an unbuffered file, which may accept only a part per call."""
    view = memoryview(data).cast("B")
    while view:
        view = view[stream.write(view) :]


def make_own_folder(path: Path) -> None:
    """Create a folder that others cannot write to, or accept an existing one of this user.

    Raises
    ------
    ForeignFileError
        It is a link, is not a folder, or belongs to another user.
    OSError
        It cannot be created.
    """
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode):
        raise ForeignFileError(f"{path} is {_name_of_kind(found.st_mode)}")
    _refuse_stranger(path, found)


def _refuse_stranger(path: Path, found: os.stat_result) -> None:
    """Raise a ForeignFileError for a file that belongs to another user.

    Files of root and of the owner of the folder are accepted: the owner has full control there, and
    on some file systems owns all files that are created in it.
    """
    if found.st_uid not in (os.geteuid(), 0, os.stat(path.parent).st_uid):
        raise ForeignFileError(f"{path} belongs to another user")


def _name_of_kind(mode: int) -> str:
    kinds = {
        stat.S_IFLNK: "a link",
        stat.S_IFDIR: "a folder",
        stat.S_IFREG: "a file",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "a device")


def mode_for(held: int, target: Path) -> int:
    """Return the mode for a new file in the place of `target`: that of the old file, if any.

    The owner and the group are kept as well, if the system allows it.
    """
    try:
        old = os.stat(target)
    except OSError:
        return stat.S_IMODE(os.fstat(held).st_mode)
    new = os.fstat(held)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        with suppress(PermissionError):
            os.fchown(held, -1, old.st_gid)
            os.fchown(held, old.st_uid, -1)
    return stat.S_IMODE(old.st_mode) & 0o777


def keep_mode(path: Path, target: Path) -> None:
    """Give a file the mode of the one that it will replace, if there is one."""
    held = os.open(path, os.O_RDONLY | _SAFELY)
    try:
        set_mode(held, mode_for(held, target))
    finally:
        os.close(held)


def set_mode(held: int, mode: int) -> None:
    """Set the mode of an open file, if the file system supports modes."""
    with suppress(PermissionError, NotImplementedError):
        os.fchmod(held, mode)
