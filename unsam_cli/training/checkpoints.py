"""The folder of a training, in which checkpoints and the model are written atomically.

::

    RUN/
      config.json model.safetensors unsam.json   the best or last model, written by the task
      metrics.jsonl                              see `unsam_cli.training.metrics`
      checkpoints/step-00001000/                 see `unsam_cli.training.checkpoint_files`

A name without a leading dot belongs to a complete checkpoint or model. The next run deletes
``.model.tmp`` and ``.step-*.tmp``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from unsam_cli.errors import OutputError, UnsamError, UsageError
from unsam_cli.run.output import output_error
from unsam_cli.run.own_files import keep_mode, remove
from unsam_cli.training.checkpoint_files import Checkpoint, write_checkpoint

METRICS = "metrics.jsonl"
MODEL = ("config.json", "model.safetensors", "unsam.json")


class RunFolder:
    """The folder of a training; one process writes it.

    Parameters
    ----------
    path : Path
        The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"

    def open(self, *, resume: bool) -> None:
        """Create the folder, or accept an existing one.

        Raises
        ------
        UsageError
            It is not empty and `resume` is not set, or it contains no training.
        OutputError
            It cannot be created or read.
        """
        try:
            self.path.mkdir(exist_ok=True)
            filled = any(self.path.iterdir())
        except OSError as e:
            raise output_error(self.path, e) from e
        if filled and not resume:
            raise UsageError(
                f"{self.path}: is not empty; continue its training with --resume, or choose "
                "another folder"
            )
        if filled and not self._trained():
            raise UsageError(
                f"{self.path}: is not empty and contains no training to resume; choose "
                "another folder"
            )

    def _trained(self) -> bool:
        return (self.path / METRICS).exists() or self.checkpoints.exists()

    def last(self) -> Path | None:
        """Remove the remains of a killed run; return the newest complete checkpoint, if any.

        Raises
        ------
        OutputError
            The folder cannot be read, or the remains cannot be removed.
        """
        try:
            for left in [*_named(self.path, ".model.tmp"), *_named(self.checkpoints, ".step-")]:
                remove(left)
            return max(_named(self.checkpoints, "step-"), default=None)
        except OSError as e:
            raise output_error(self.path, e) from e

    def of_step(self, step: int) -> Path:
        """Return the path of the checkpoint of a step, whether it exists or not."""
        return self.checkpoints / f"step-{step:08d}"

    def gone(self) -> list[str]:
        """Return the missing files of the model."""
        return [name for name in MODEL if not (self.path / name).exists()]

    def save(self, step: int, checkpoint: Checkpoint) -> None:
        """Write the checkpoint of a step, unless it exists.

        Raises
        ------
        OutputError
            It cannot be written; the others are untouched.
        """
        target = self.of_step(step)
        if target.exists():
            return
        with self._filling(target) as temporary:
            write_checkpoint(temporary, checkpoint)
            _sync(temporary)
            temporary.rename(target)
            _sync_folder(self.checkpoints)

    def publish(self, write: Callable[[Path], None]) -> None:
        """Let `write` fill a temporary folder, then move its files to the top, the weights last.

        Raises
        ------
        OutputError
            They cannot be written.
        """
        with self._filling(self.path / "model") as temporary:
            write(temporary)
            _sync(temporary)
            for file in sorted(temporary.iterdir(), key=lambda f: (f.suffix == ".safetensors", f)):
                keep_mode(file, self.path / file.name)
                file.replace(self.path / file.name)
            _sync_folder(self.path)

    def prune(self, keep: int, best: int | None) -> None:
        """Delete all checkpoints but the newest `keep` and that of the step `best`."""
        for old in sorted(_named(self.checkpoints, "step-"))[:-keep]:
            if old.name != f"step-{best or 0:08d}":
                doomed = old.with_name(f".{old.name}.tmp")
                remove(doomed)
                old.rename(doomed)  # so that no half-deleted checkpoint has a complete name
                remove(doomed)

    @contextmanager
    def _filling(self, target: Path) -> Iterator[Path]:
        temporary = target.with_name(f".{target.name}.tmp")
        try:
            remove(temporary)  # left by a killed run, or put there by somebody
            temporary.mkdir(parents=True)
            yield temporary
        except UnsamError:
            raise
        except OSError as e:
            raise output_error(target, e) from e
        except SafetensorError as e:  # raised when the disk is full
            raise OutputError(f"{target}: cannot be written: {e}") from e
        finally:
            with suppress(OSError):
                remove(temporary)


def _named(folder: Path, prefix: str) -> list[Path]:
    """List the entries of a folder that begin with `prefix`; unlike `glob`, raise if unreadable."""
    try:
        return [path for path in folder.iterdir() if path.name.startswith(prefix)]
    except FileNotFoundError:
        return []


def _sync(folder: Path) -> None:
    """Wait until the files of a folder are on the disk."""
    for file in folder.iterdir():
        with file.open("r+b") as stream:
            os.fsync(stream.fileno())
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
