"""Inputs that are newer than the complete output that was made from them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

logger = logging.getLogger(__name__)


def tell_newer(paths: Iterable[Path], made_at: int, name: str) -> None:
    """Warn about files that may have changed since a complete output was made from them.

    Parameters
    ----------
    paths : iterable of Path
        The files.
    made_at : int
        Date of the output, in ns.
    name : str
        Name of the output in the message.
    """
    if newer := [path for path in dict.fromkeys(paths) if _changed_at(path) > made_at]:
        more = f" and {len(newer) - 1} more" if len(newer) > 1 else ""
        logger.warning(
            "%s: is complete and is kept, but is older than %s%s; delete it if they have changed",
            *(name, newer[0], more),
        )


def _changed_at(path: Path) -> int:
    with suppress(OSError):  # reported when the file is read
        return path.stat().st_mtime_ns
    return 0
