"""Images that could not be read, and were replaced."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path

logger = logging.getLogger(__name__)


class SkippedImages:
    """A list of images that were skipped, each once, in ``OUTPUT.errors.jsonl``.

    Parameters
    ----------
    folder : Path
        OUTPUT, the folder of the training.
    stage : str
        The command.
    """

    def __init__(self, folder: Path, stage: str) -> None:
        self._path, self._stage = folder.with_name(f"{folder.name}.errors.jsonl"), stage
        self._names: set[str] = set()

    def __len__(self) -> int:
        return len(self._names)

    def add(self, skipped: Iterable[tuple[str, str]]) -> None:
        """Note images by name and what is wrong with them."""
        for name, reason in skipped:
            if name in self._names:
                continue
            self._names.add(name)
            logger.warning("skipped %s: %s", name, reason)
            entry = {"file_name": name, "stage": self._stage, "error": reason}
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(entry, ensure_ascii=False) + "\n")
