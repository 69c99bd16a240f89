"""Atomic writing of model folders."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from unsam_cli.backbones.model_files import ABOUT
from unsam_cli.errors import OutputError, UnsamError, shortage
from unsam_cli.run.own_files import claim, is_at, keep_mode, remove

_FILES = [{ABOUT, "config.json", f"{weights}.safetensors"} for weights in ("model", "promptable")]
"""Files of a model folder: one that transformers can load, or a promptable model with new parts."""


def publish_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Write a model folder atomically: fill a temporary one, then rename it to `folder`.

    An existing folder is replaced if it contains a model and nothing else, or is empty.

    Parameters
    ----------
    folder : Path
        Folder to write. A symbolic link is followed, and kept.
    write : callable
        Writes the model into the empty folder that it is given.

    Raises
    ------
    OutputError
        The folder cannot be written, contains something else, or is being written by another
        process.
    """
    folder = Path(os.path.realpath(folder))  # keeps a link
    try:
        _check(folder)
        with _part(folder) as part:
            write(part)
            _keep_modes(part, folder)
            old = folder.with_name(f".{folder.name}.old")
            remove(old)  # left by a run that was killed in the next lines
            if folder.exists():
                folder.rename(old)
            part.rename(folder)
            remove(old)
    except UnsamError:
        raise
    except (OSError, SafetensorError) as error:  # safetensors raises its own when a disk is full
        reason = shortage(error) or getattr(error, "strerror", None) or error
        raise OutputError(
            f"{folder}: cannot be written: {' '.join(str(reason).split())}"
        ) from error


def _check(folder: Path) -> None:
    if folder in (Path.cwd(), *Path.cwd().parents):
        raise OutputError(f"{folder}: is the current folder; give another name")
    if folder.exists() and not (folder.is_dir() and _holds_only_a_model(folder)):
        raise OutputError(f"{folder}: exists, but is not a model folder: give another name")


@contextmanager
def _part(folder: Path) -> Iterator[Path]:
    """Yield an empty folder next to `folder` that only this process uses; remove it afterwards."""
    if not folder.parent.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        part, held = claim(folder.with_name(f".{folder.name}.tmp"), folder=True)
    except BlockingIOError as e:
        raise OutputError(
            f"{folder}: another process is writing it; wait for it, or give another name"
        ) from e
    try:
        yield part
    finally:
        if is_at(held, part):
            shutil.rmtree(part, ignore_errors=True)
        os.close(held)


def _keep_modes(part: Path, folder: Path) -> None:
    """Give new files, and the folder, the modes of those that they replace."""
    for file in part.iterdir():
        keep_mode(file, folder / file.name)
    if folder.exists():
        keep_mode(part, folder)


def _holds_only_a_model(folder: Path) -> bool:
    """Return whether a folder contains exactly the files of a model, or nothing."""
    return {path.name for path in folder.iterdir()} in [set(), *_FILES]
