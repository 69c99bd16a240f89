"""Images that could not be read and were replaced."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from unsam_cli.run.error_list import clear_errors, list_error

logger = logging.getLogger(__name__)


class SkippedImages:
    """Images that were skipped, each once, in the order in which they were met.

    Parameters
    ----------
    folder : Path
        OUTPUT, the folder of the training.
    stage : str
        Name of the command.

    Attributes
    ----------
    reasons : dict of str
        Reason why each image was skipped, by file name.
    """

    def __init__(self, folder: Path, stage: str) -> None:
        self._path, self._stage = Path(f"{os.path.abspath(folder)}.errors.jsonl"), stage
        self.reasons: dict[str, str] = {}

    def add(self, skipped: Iterable[tuple[str, str]]) -> dict[str, str]:
        """Add images, as pairs of name and reason; return those that are new."""
        new = {name: reason for name, reason in skipped if name not in self.reasons}
        self.reasons.update(new)
        return new

    def write(self, new: Mapping[str, str]) -> None:
        """Add images to ``OUTPUT.errors.jsonl``.

        Raises
        ------
        OutputError
            It cannot be written.
        """
        for name, reason in new.items():
            logger.warning("skipped %s: %s", name, reason)
            list_error(self._path, self._stage, name, reason)

    def rewrite(self) -> None:
        """Replace ``OUTPUT.errors.jsonl`` by the images known now.

        Raises
        ------
        OutputError
            It cannot be written.
        """
        clear_errors(self._path)
        for name, reason in self.reasons.items():
            list_error(self._path, self._stage, name, reason)
