"""Items that failed: the first ends the run, or all are listed beside the output."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from unsam_cli.errors import UnsamError, machine_error
from unsam_cli.run.items import Item
from unsam_cli.run.journal import output_error
from unsam_cli.run.output import output_path
from unsam_cli.run.own_files import open_own, write_all

logger = logging.getLogger(__name__)


class ErrorList:
    """Items that failed: the first ends the run, or all are listed in ``OUTPUT.errors.jsonl``.

    Parameters
    ----------
    output : str
        The output of the run. A stream has no list.
    stage : str
        Name of the command.
    on_error : {'fail', 'skip'}
        Whether an item that fails ends the run or is skipped.
    """

    def __init__(self, output: str, stage: str, on_error: str) -> None:
        self.stage, self.on_error = stage, on_error
        self.count = 0
        target = output_path(output)
        self.path = None if target is None else Path(f"{target}.errors.jsonl")
        if self.path is not None:
            clear_errors(self.path)

    def add(self, item: Item, error: UnsamError) -> None:
        """Record that `item` failed.

        Raises
        ------
        UnsamError
            The error with the name of the item, unless failed items are skipped. A lack of machine
            resources always ends the run, since all other items would fail, too.
        """
        machine = machine_error(error)
        error = machine or error
        text = str(error)
        if self.on_error != "skip" or (machine is not None and machine.everywhere):
            if item.file_name not in text:
                error.args = (f"{item.file_name}: {text}",)
            raise error
        self.count += 1
        logger.warning("skipped %s: %s", item.file_name, error)
        if self.path is not None:
            list_error(self.path, self.stage, item.file_name, text)


def clear_errors(path: Path) -> None:
    """Remove the list of an earlier run.

    Raises
    ------
    OutputError
        The list cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as e:
        raise output_error(path, e) from e


def list_error(path: Path, stage: str, file_name: str, text: str) -> None:
    """Add an item that failed to a list.

    Parameters
    ----------
    path : Path
        The list, one JSON object per line.
    stage : str
        Name of the command.
    file_name : str
        Name of the image.
    text : str
        The error.

    Raises
    ------
    OutputError
        The list cannot be written.
    """
    entry = {"file_name": file_name, "stage": stage, "error": text}
    line = json.dumps(entry, ensure_ascii=False) + "\n"
    try:
        with open_own(path) as stream:
            # Names of folders may be invalid UTF-8.
            write_all(stream, line.encode(errors="backslashreplace"))
    except OSError as e:
        raise output_error(path, e) from e
