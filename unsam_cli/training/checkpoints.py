"""The folder of a training: checkpoints and a model that appear whole or not at all.

::

    RUN/
      config.json model.safetensors unsam.json   the model, best or last, as the task writes it
      metrics.jsonl                              see `unsam_cli.training.metrics`
      checkpoints/step-00001000/
        state.pt             step, optimizer, best validation, settings; random numbers and the
                             order of samples follow from the seed and the step
        model.safetensors    weights
        average.safetensors  their moving average, if there is one

A name without a dot in front is that of something complete. ``.model.tmp`` and ``.step-*.tmp`` are
deleted by the next run.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from unsam_cli.errors import CheckpointError, OutputError, UnsamError, UsageError
from unsam_cli.run.differences import first_difference
from unsam_cli.run.journal import output_error
from unsam_cli.training.loading import is_of_a_worker

METRICS = "metrics.jsonl"


@dataclass(frozen=True)
class Checkpoint:
    """All that a training goes on from.

    Parameters
    ----------
    state : dict
        Numbers, strings, lists, dicts and tensors.
    weights : mapping
        State of the module.
    average : mapping, optional
        The moving average of it.
    """

    state: dict[str, Any]
    weights: Mapping[str, Tensor]
    average: Mapping[str, Tensor] | None = None


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
        """Make the folder, or accept the one that is there.

        Raises
        ------
        UsageError
            It is not empty and `resume` is not set, or what is in it is no training.
        OutputError
            It cannot be made.
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
                f"{self.path}: is not empty and holds no training to resume; choose another folder"
            )

    def _trained(self) -> bool:
        return (self.path / METRICS).exists() or self.checkpoints.exists()

    def last(self) -> Path | None:
        """Return the newest complete checkpoint, and sweep up what a killed run left."""
        for left in [*self.path.glob(".model.tmp"), *self.checkpoints.glob(".step-*.tmp")]:
            shutil.rmtree(left, ignore_errors=True)
        return max(self.checkpoints.glob("step-*"), default=None)

    def save(self, step: int, checkpoint: Checkpoint) -> None:
        """Write the checkpoint of a step, unless it is there.

        Raises
        ------
        OutputError
            It cannot be written; the others are untouched.
        """
        target = self.checkpoints / f"step-{step:08d}"
        if target.exists():
            return
        with self._filling(target) as temporary:
            save_tensors(checkpoint.weights, temporary / "model.safetensors")
            if checkpoint.average is not None:
                save_tensors(checkpoint.average, temporary / "average.safetensors")
            _save_state(checkpoint.state, temporary / "state.pt")
            _sync(temporary)
            temporary.rename(target)
            _sync_folder(self.checkpoints)

    def publish(self, write: Callable[[Path], None]) -> None:
        """Let `write` fill a folder, and move its files to the top, the weights last.

        Raises
        ------
        OutputError
            They cannot be written.
        """
        with self._filling(self.path / "model") as temporary:
            write(temporary)
            _sync(temporary)
            for file in sorted(temporary.iterdir(), key=lambda f: (f.suffix == ".safetensors", f)):
                file.replace(self.path / file.name)
            _sync_folder(self.path)

    def prune(self, keep: int, best: int | None) -> None:
        """Delete checkpoints, but for the newest `keep` and that of the step `best`."""
        for old in sorted(self.checkpoints.glob("step-*"))[:-keep]:
            if old.name != f"step-{best or 0:08d}":
                doomed = old.rename(old.with_name(f".{old.name}.tmp"))  # never half of one
                shutil.rmtree(doomed, ignore_errors=True)

    @contextmanager
    def _filling(self, target: Path) -> Iterator[Path]:
        temporary = target.with_name(f".{target.name}.tmp")
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            yield temporary
        except UnsamError:
            raise
        except OSError as e:
            raise output_error(target, e) from e
        except SafetensorError as e:  # how it says "disk full"
            raise OutputError(f"{target}: cannot be written: {e}") from e
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def load_checkpoint(folder: Path, settings: Mapping[str, Any]) -> Checkpoint:
    """Read a checkpoint onto the CPU.

    Parameters
    ----------
    folder : Path
        Of the checkpoint.
    settings : dict
        What it must have been made with.

    Raises
    ------
    UsageError
        The settings differ; the first difference is named.
    CheckpointError
        A file is missing or damaged.
    """
    average = folder / "average.safetensors"
    try:
        checkpoint = Checkpoint(
            torch.load(folder / "state.pt", map_location="cpu", weights_only=True),
            load_file(folder / "model.safetensors"),
            load_file(average) if average.exists() else None,
        )
    except Exception as e:  # pickle, zip and safetensors have many ways to say it
        raise CheckpointError(
            f"{folder}: the checkpoint is damaged ({type(e).__name__}); delete the folder to go on "
            "from the one before"
        ) from e
    difference = first_difference(checkpoint.state["settings"], dict(settings))
    if difference is not None:
        name, before, now = difference
        raise UsageError(
            f"{folder}: cannot resume, {name} was {before} and is now {now}; use the same "
            "settings and inputs, or start over in another folder"
        )
    return checkpoint


def _save_state(state: Mapping[str, Any], path: Path) -> None:
    try:
        torch.save(state, path)
    except RuntimeError as e:  # how it says "disk full"
        if is_of_a_worker(e):
            raise
        raise OSError(str(e)) from e


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors of any device, some of which may share memory."""
    copies = {k: v.detach().to("cpu", copy=True).contiguous() for k, v in tensors.items()}
    save_file(copies, path)


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
