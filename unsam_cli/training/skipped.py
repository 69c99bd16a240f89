"""Images that could not be read and were replaced, and annotations that were left out."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from unsam_cli.errors import UnsamError, machine_error
from unsam_cli.io.left_out import LeftOut
from unsam_cli.run.error_list import clear_errors, list_error

logger = logging.getLogger(__name__)


class Skipped(NamedTuple):
    """An image that was replaced by another one, or an annotation that was left out of its image.

    Attributes
    ----------
    file_name : str
        Name of the image.
    reason : str
        What is wrong with it.
    annotation : int, str or None
        The annotation, see :class:`~unsam_cli.io.left_out.LeftOut`; None if it is the image.
    """

    file_name: str
    reason: str
    annotation: int | str | None = None


def as_skipped(left_out: Iterable[tuple[str, LeftOut]]) -> list[Skipped]:
    """Return annotations that were left out of images, each with the name of its image."""
    return [Skipped(name, one.reason, one.annotation) for name, one in left_out]


def reason_to_skip(error: UnsamError, on_error: str) -> str:
    """Return the reason why an image is skipped; raise the error if it is not skipped.

    A lack of resources always ends the run, because other images would fail, too.
    """
    machine = machine_error(error)
    if on_error == "fail" or (machine is not None and machine.everywhere):
        raise machine or error
    return str(machine or error)


def restored(state: object) -> list[Skipped] | None:
    """Return what was skipped, as a checkpoint has it; None if it cannot be read.

    Checkpoints of earlier versions have images only: a dict of their reasons.
    """
    listed = [(*one, None) for one in state.items()] if isinstance(state, dict) else state
    if not isinstance(listed, list):
        return None
    found = []
    for one in listed:
        if not isinstance(one, tuple) or len(one) != 3:
            return None
        name, reason, which = one
        if not (isinstance(name, str) and isinstance(reason, str)):
            return None
        if which is not None and not isinstance(which, int | str):
            return None
        found.append(Skipped(name, reason, which))
    return found


class SkippedList:
    """All that was skipped, each once, in the order in which it was met.

    Parameters
    ----------
    folder : Path
        OUTPUT, the folder of the training.
    stage : str
        Name of the command.
    known : iterable of Skipped
        What was skipped before.
    """

    def __init__(self, folder: Path, stage: str, known: Iterable[Skipped] = ()) -> None:
        self._path, self._stage = Path(f"{os.path.abspath(folder)}.errors.jsonl"), stage
        self._reasons: dict[tuple[str, int | str | None], str] = {}
        self.add(known)

    @property
    def every(self) -> list[Skipped]:
        """Images and annotations."""
        return [Skipped(name, why, which) for (name, which), why in self._reasons.items()]

    def new(self, skipped: Iterable[Skipped]) -> list[Skipped]:
        """Return those that are not known yet, each once."""
        found = {(one.file_name, one.annotation): one for one in skipped}
        return [one for key, one in found.items() if key not in self._reasons]

    def add(self, skipped: Iterable[Skipped]) -> list[Skipped]:
        """Add images and annotations; return those that are new."""
        new = self.new(skipped)
        self._reasons |= {(one.file_name, one.annotation): one.reason for one in new}
        return new

    def write(self, new: Iterable[Skipped]) -> None:
        """Add images and annotations to ``OUTPUT.errors.jsonl``.

        Raises
        ------
        OutputError
            It cannot be written.
        """
        for one in new:
            if one.annotation is None:
                logger.warning("skipped %s: %s", one.file_name, one.reason)
            else:
                logger.warning(
                    "left out annotation %s of %s: %s", one.annotation, one.file_name, one.reason
                )
            self._list(one)

    def rewrite(self) -> None:
        """Replace ``OUTPUT.errors.jsonl`` by what is known now.

        Raises
        ------
        OutputError
            It cannot be written.
        """
        clear_errors(self._path)
        for one in self.every:
            self._list(one)

    def _list(self, one: Skipped) -> None:
        list_error(self._path, self._stage, one.file_name, one.reason, annotation_id=one.annotation)
