"""Count the masks that refinement drops, by reason."""

from __future__ import annotations

import logging
import threading
from collections import Counter

from unsam_cli.run.progress import LineReporter

# The numbers of masks are logged by default, as progress is.
logger = logging.getLogger(LineReporter.logger_name)


class Tally:
    """Counts masks and the reasons why they are dropped, over all images and threads.

    Parameters
    ----------
    command : str
        Its name, for the report.
    """

    def __init__(self, command: str) -> None:
        self._command = command
        self._lock = threading.Lock()
        self._masks = 0
        self._dropped: Counter[str] = Counter()

    def add(self, masks: int, dropped: Counter[str]) -> None:
        """Count the masks of one image."""
        with self._lock:
            self._masks += masks
            self._dropped += dropped

    def report(self) -> None:
        """Log how many masks were kept, and why the others were not."""
        lost = self._dropped.total()
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self._dropped.items()))
        logger.info(
            "%s: %d of %d refined masks kept%s",
            *(self._command, self._masks - lost, self._masks),
            f"; dropped: {reasons}" if lost else "",
            extra={"fields": {"masks": self._masks, "dropped": dict(self._dropped)}},
        )
