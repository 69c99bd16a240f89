"""Model folders that appear at once or not at all."""

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

_FILES = {ABOUT, "config.json", "model.safetensors"}


def publish_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a folder beside `folder`, then rename it, so that nobody sees half of it.

    An earlier folder of that name is replaced if it holds a model and nothing else.

    Raises
    ------
    OutputError
        It cannot be written, there is something else in its place, or another process writes it.
    """
    folder = Path(os.path.realpath(folder))  # a link stays one
    try:
        _check(folder)
        with _part(folder) as part:
            write(part)
            _keep_modes(part, folder)
            old = folder.with_name(f".{folder.name}.old")
            remove(old)  # of a run that was killed in the next two lines
            if folder.exists():
                folder.rename(old)
            part.rename(folder)
            remove(old)
    except UnsamError:
        raise
    except (OSError, SafetensorError) as error:  # the latter is how it says "disk full"
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
    """Give an empty folder beside `folder` that only this process uses; it is gone afterwards."""
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
    """Give new files the modes of those that they replace."""
    for file in part.iterdir():
        keep_mode(file, folder / file.name)
    if folder.exists():
        keep_mode(part, folder)


def _holds_only_a_model(folder: Path) -> bool:
    """Say whether a folder was written here; what is empty may be replaced, too."""
    return {path.name for path in folder.iterdir()} in (set(), _FILES)
