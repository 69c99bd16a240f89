"""Make sure that no command replaces its inputs: compare outputs with inputs before the run.

Files are identified by device and inode, so a link counts as the file that it points to. Only
existing files can be replaced: if no part of an output exists, inputs are not checked.

Files that options name are compared before a command starts, see :mod:`unsam_cli.cli.command`. Only
the command knows the images in a list and the files in a folder: it registers them with
:meth:`~unsam_cli.run.settings.RunSettings.reading`, or calls :func:`refuse_replacing`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from unsam_cli.errors import MissingInputError, UnsamError, UsageError
from unsam_cli.run.journal import part_folder
from unsam_cli.run.output import STDOUT, output_path

Places = Iterable[str | Path]
Identity = tuple[int, int]

_MODEL = ("*.json", "*.safetensors", "*.bin", "*.pt", "*.pth")
_CONFIG, _TRAINING = "config.json", ("metrics.jsonl", "checkpoints/*/*")


def refuse_replacing(writes: Places, reads: Places) -> None:
    """Refuse to write a file that is read.

    Parameters
    ----------
    writes, reads : iterable of str or Path
        Files, which need not exist; ``-`` is standard output or standard input. `reads` is
        evaluated only if a file of `writes` exists.

    Raises
    ------
    UsageError
        A file is in both; the message names it.
    """
    written: dict[Identity, str | Path] = {}
    for place in writes:
        identity = _identity(place, stream=1)
        if identity is not None:
            written.setdefault(identity, place)
    if not written:
        return
    for place in reads:
        identity = _identity(place, stream=0)
        if identity in written:
            raise UsageError(_refusal(written[identity], place))


def refuse_pictures(writes: Iterable[Path]) -> None:
    """Refuse to replace an image by a drawing of the same name, even if it is not an input.

    Label maps and overlays have the names of their photographs.

    Raises
    ------
    UsageError
        A file exists and is not a drawing of an earlier run; the message names it.
    """
    from unsam_cli.io.drawings import is_drawing

    for path in writes:
        if path.is_file() and not is_drawing(path):
            raise UsageError(
                f"{path}: was not written by unsam and would be replaced; choose another folder"
            )


def refuse_doubles(outputs: Iterable[str]) -> None:
    """Refuse two outputs with one name.

    Raises
    ------
    UsageError
        One output would replace the other; the message names it.
    """
    seen = set()
    for output in outputs:
        place = os.path.realpath(output)
        if output != STDOUT and output_path(output) is not None:
            if place in seen:
                raise UsageError(
                    f"{output}: two outputs have this name; choose another name for one"
                )
            seen.add(place)


def files_of(output: str) -> Iterator[str | Path]:
    """Yield the files that a command with this output writes: the output and files next to it.

    For an existing folder these include the model and the checkpoints of a training.
    """
    path = output_path(output)
    if path is None:
        yield output
        return
    yield path
    yield errors_of(path)
    yield from part_folder(Path(os.path.abspath(path))).glob("*")  # as of "."
    if (path / _CONFIG).exists():
        for pattern in (*_MODEL, *_TRAINING):
            yield from path.glob(pattern)


def errors_of(output: Path) -> Path:
    """Return the file that lists the skipped images of this output."""
    return Path(f"{os.path.abspath(output)}.errors.jsonl")


def files_in(folder: Path) -> Iterator[Path]:
    """Yield the files that are read from a folder in the place of a file: model, masks files."""
    from unsam_cli.io.sources import json_files

    if (folder / _CONFIG).exists():
        for pattern in _MODEL:
            yield from folder.glob(pattern)
        return
    try:
        yield from json_files(folder)
    except MissingInputError:  # reported when the folder is opened
        return


def images_below(folder: Path, names: Iterable[str]) -> Iterator[Path]:
    """Yield the existing images that a file names; missing ones are reported when they are read."""
    from unsam_cli.io.names import Pictures

    listed = list(names)
    pictures = Pictures(folder, listed)
    for name in listed:
        with suppress(UnsamError):
            yield pictures.find(name)


def _identity(place: str | Path, stream: int) -> Identity | None:
    """Device and inode of a regular file."""
    try:
        status = os.fstat(stream) if place == STDOUT else os.stat(place)
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def _refusal(write: str | Path, read: str | Path) -> str:
    output = "standard output" if write == STDOUT else str(write)
    source = "standard input" if read == STDOUT else str(read)
    what = "this" if source == output else f"{source}, which is the same file,"
    return f"{output}: the command reads {what} and would replace it; choose another output"
