"""Outputs: files that appear complete or not at all, and standard output."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from unsam_cli.errors import OutputError, UnsamError, UsageError, errno_of, shortage
from unsam_cli.io.scratch import scratch, scratch_folder
from unsam_cli.run.own_files import ForeignFileError, claim, is_at, mode_for, set_mode

STDOUT = "-"


def output_path(output: str) -> Path | None:
    """Return the path of the output file, or None for a stream.

    Streams are standard output and everything that exists and is not a regular file: a device such
    as ``/dev/null``, or a named pipe. A stream is written to and never replaced. A symbolic link is
    kept, and the file that it points to is replaced.
    """
    if output == STDOUT or is_special(output):
        return None
    return Path(os.path.realpath(output)) if os.path.islink(output) else Path(output)


def is_special(output: str) -> bool:
    """Whether a path is a device, a pipe or a socket."""
    try:
        mode = os.stat(output).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def check_output(output: str, *, binary: bool, no_clobber: bool) -> None:
    """Refuse an output that cannot or should not be written, before any work is done.

    Raises
    ------
    UsageError
        Binary data would go to a terminal, or the file exists and `no_clobber` is set.
    OutputError
        The folder does not exist, or the output is a folder.
    """
    path = output_path(output)
    if path is None:
        if binary and output == STDOUT and sys.stdout.isatty():
            raise UsageError(
                "the output is binary, and standard output is a terminal; give -o FILE, or pipe it"
            )
        return
    refuse_folder(output)
    if not path.parent.is_dir():
        raise OutputError(f"{path}: the folder {path.parent} does not exist; create it first")
    if no_clobber and path.exists():
        raise UsageError(f"{path}: exists, and --no-clobber was given")


def refuse_folder(output: str) -> None:
    """Refuse the name of a folder where the name of a file is needed.

    The argument is the text that was typed, since a :class:`~pathlib.Path` drops a final slash.

    Raises
    ------
    OutputError
        The name ends with a slash or a dot, or is that of a folder.
    """
    if os.path.isdir(output) or os.path.basename(output) in ("", ".", ".."):
        raise OutputError(f"{output or '.'}: is a folder; give a file name")


def publish(output: str, write: Callable[[Path], None], *, follow: bool = True) -> None:
    """Let `write` fill a temporary file, then rename it to `output` or copy it to a stream.

    The mode of an earlier output is kept.

    Parameters
    ----------
    output : str
        A path, or ``-`` for standard output.
    write : callable
        Fills the empty file at the given path; it must not replace this file.
    follow : bool
        Replace the file that a symbolic link points to. If False, the link itself is replaced. This
        is for files in a folder, whose names the user has not typed.

    Raises
    ------
    OutputError
        The file cannot be written, or another process is writing it. An earlier output is not
        changed.
    BrokenPipeError
        The reader of standard output is gone.
    """
    path = output_path(output) if follow else Path(output)
    try:
        if path is None:
            with scratch_folder("the output") as folder:
                with scratch("the output"):
                    write(folder / "output")
                _copy_to_stream(folder / "output", output)
        else:
            with _temporary(path) as (temporary, held):
                write(temporary)
                _rename(temporary, held, path)
    except (UnsamError, BrokenPipeError):
        raise
    except OSError as e:
        raise output_error(None if output == STDOUT else Path(output), e) from e


@contextmanager
def _temporary(target: Path) -> Iterator[tuple[Path, int]]:
    """Open a temporary file next to `target` for this process only; delete it on errors.

    Its name is fixed, so that a run replaces the file that a killed run has left.
    """
    try:
        temporary, held = claim(target.with_name(f".{target.name}.tmp"))
    except BlockingIOError as e:
        raise OutputError(
            f"{target}: another process is writing it; wait for it, or choose another output"
        ) from e
    try:
        set_mode(held, mode_for(held, target) | stat.S_IRUSR | stat.S_IWUSR)
        yield temporary, held
    except BaseException:
        if is_at(held, temporary):
            temporary.unlink()
        raise
    finally:
        os.close(held)


def _rename(temporary: Path, held: int, target: Path) -> None:
    os.fsync(held)
    if not is_at(held, temporary):
        raise OutputError(f"{target}: another process has removed {temporary}; run again")
    set_mode(held, mode_for(held, target))
    temporary.replace(target)


def _copy_to_stream(path: Path, output: str) -> None:
    with path.open("rb") as source:
        if output == STDOUT:
            shutil.copyfileobj(source, sys.stdout.buffer, 1 << 20)
            sys.stdout.buffer.flush()
            return
        with open(output, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)


def output_error(target: Path | None, e: OSError) -> OutputError:
    """Return `e` as an error of one line about the output, with a way to fix it."""
    name = "standard output" if target is None else str(target)
    number = errno_of(e)
    if isinstance(e, ForeignFileError):
        return OutputError(f"{name}: {e}; remove it, or choose another output")
    if number in (errno.ENOSPC, errno.EDQUOT):
        return OutputError(f"{name}: no space left; free disk space and run again with --resume")
    if (short := shortage(e)) is not None:
        return OutputError(f"{name}: {short}")
    if number == errno.ENOENT and target is not None:
        return OutputError(f"{name}: the folder {target.parent} does not exist; create it first")
    reason = os.strerror(number) if number else str(e)
    return OutputError(f"{name}: {reason}; check the folder, or choose another output")
