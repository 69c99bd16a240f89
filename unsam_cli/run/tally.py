"""Count the masks that a command drops, by reason."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Mapping

from unsam_cli.run.progress import LineReporter

# The numbers of masks are logged by default, as progress is.
logger = logging.getLogger(LineReporter.logger_name)


class Tally:
    """Counts masks and the reasons why they are dropped, over all images and threads.

    Parameters
    ----------
    command : str
        Its name, for the report.
    kind : str
        What the report calls the masks.
    """

    def __init__(self, command: str, kind: str = "refined masks") -> None:
        self._command = command
        self._kind = kind
        self._lock = threading.Lock()
        self._masks = self._kept = 0
        self._dropped: Counter[str] = Counter()

    def add(self, masks: int, kept: int, dropped: Mapping[str, int] | None = None) -> None:
        """Count the masks of one image; `dropped` says why some are not kept."""
        with self._lock:
            self._masks += masks
            self._kept += kept
            self._dropped.update(dropped or {})

    def report(self) -> None:
        """Log how many masks were kept, and why the others were not."""
        dropped = {reason: count for reason, count in sorted(self._dropped.items()) if count}
        reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
        logger.info(
            "%s: %d of %d %s kept%s",
            *(self._command, self._kept, self._masks, self._kind),
            f"; dropped: {reasons}" if reasons else "",
            extra={"fields": {"masks": self._masks, "kept": self._kept, "dropped": dropped}},
        )
