"""Model folders that appear at once or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError

from unsam_cli.errors import OutputError, UnsamError

ABOUT = "unsam.json"
_FILES = {ABOUT, "config.json", "model.safetensors"}


def publish_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a folder beside `folder`, then rename it, so that nobody sees half of it.

    An earlier folder of that name is replaced if it holds a model and nothing else.

    Raises
    ------
    OutputError
        It cannot be written, or there is something else in its place.
    """
    part, old = (folder.with_name(f".{folder.name}.{os.getpid()}.{end}") for end in ("tmp", "old"))
    try:
        if folder.exists() and not (folder.is_dir() and _holds_only_a_model(folder)):
            raise OutputError(f"{folder}: exists, and is no model folder: give another name")
        part.mkdir(parents=True)
        write(part)
        if folder.exists():
            folder.rename(old)
        part.rename(folder)
    except UnsamError:
        raise
    except (OSError, SafetensorError) as error:  # the latter is how it says "disk full"
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise OutputError(f"{folder}: cannot be written: {reason}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _holds_only_a_model(folder: Path) -> bool:
    """Say whether a folder was written here; what is empty may be replaced, too."""
    return {path.name for path in folder.iterdir()} in (set(), _FILES)
