"""Charts and figures, which matplotlib draws: what can be refused before any work is done."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from unsam_cli.errors import UsageError


def check_chart(option: str, path: Path, suffixes: tuple[str, str]) -> None:
    """Refuse a file that cannot be drawn.

    Parameters
    ----------
    option : str
        The option that names the file, for messages.
    path : Path
        The file.
    suffixes : (str, str)
        Suffixes of the formats that can be drawn.

    Raises
    ------
    UsageError
        The suffix is another one, or matplotlib is not installed.
    """
    if path.suffix.lower() not in suffixes:
        raise UsageError(f"{option} {path}: give a file name that ends in {' or '.join(suffixes)}")
    if find_spec("matplotlib") is None:
        raise UsageError(f"{option} needs matplotlib: pip install matplotlib")
