"""Items that failed: the first ends the run, or all are listed beside the output."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from unsam_cli.errors import DataError, MachineError, UnsamError, counted, machine_error
from unsam_cli.io.left_out import LeftOut
from unsam_cli.run.items import Item, fault_of
from unsam_cli.run.output import output_error, output_path
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
    finished : collection of str
        Names of images that an earlier run has finished: the annotations that it left out of them
        stay in the list.
    """

    def __init__(
        self, output: str, stage: str, on_error: str, finished: Collection[str] = ()
    ) -> None:
        self.stage, self.on_error = stage, on_error
        self.count = self.annotations = 0
        target = output_path(output)
        self.path = None if target is None else Path(f"{target}.errors.jsonl")
        if self.path is not None:
            kept = _left_out_before(self.path, finished) if finished else []
            clear_errors(self.path)
            for entry in kept:
                list_error(self.path, **entry)
            self.annotations = len(kept)

    def add(self, item: Item, error: UnsamError) -> None:
        """Record that `item` failed.

        Raises
        ------
        UnsamError
            The error with the name of the item, unless failed items are skipped. A lack of machine
            resources always ends the run, since all other items would fail, too.
        """
        machine = error if isinstance(error, MachineError) else machine_error(error)
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

    def add_faulty(self, items: Iterable[Item]) -> None:
        """Record the items that cannot be processed."""
        for item in items:
            if fault := fault_of(item):
                self.add(item, DataError(fault))

    def add_annotations(self, name: str, left_out: Sequence[LeftOut]) -> None:
        """Record annotations that were left out of the image `name`, which itself is kept.

        Unless failed items are skipped, these are annotations without a mask, and no errors.
        """
        for one in left_out:
            self.annotations += 1
            which, reason = one.annotation, one.reason
            logger.info("left out annotation %s of %s: %s", which, name, reason)
            if self.path is not None:
                list_error(self.path, self.stage, name, reason, annotation_id=which)

    def add_strays(self, strays: Iterable[tuple[str, LeftOut]]) -> None:
        """Record annotations whose image is not listed, each with the id of this image."""
        for name, one in strays:
            self.add_annotations(name, [one])

    def finish(self) -> bool:
        """Say how many annotations were left out; return whether anything was skipped."""
        if self.annotations:
            where = "-v lists them" if self.path is None else f"see {self.path}"
            logger.warning("left out %s; %s", counted(self.annotations, "annotation"), where)
        return bool(self.count or (self.on_error == "skip" and self.annotations))


def _left_out_before(path: Path, finished: Collection[str]) -> list[dict[str, Any]]:
    """Return the annotations that are listed for finished images."""
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError):
        return []
    return [
        {**{k: e[k] for k in ("stage", "file_name", "annotation_id")}, "text": e["error"]}
        for e in lines
        if "annotation_id" in e and e.get("file_name") in finished
    ]


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


def list_error(
    path: Path,
    stage: str,
    file_name: str,
    text: str,
    *,
    annotation_id: int | str | None = None,
) -> None:
    """Add an item that failed, or one of its annotations, to a list.

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
    annotation_id : int or str, optional
        Id of the annotation that was left out; the image was not.

    Raises
    ------
    OutputError
        The list cannot be written.
    """
    entry: dict[str, Any] = {"file_name": file_name, "stage": stage, "error": text}
    if annotation_id is not None:
        entry["annotation_id"] = annotation_id
    line = json.dumps(entry, ensure_ascii=False) + "\n"
    try:
        with open_own(path) as stream:
            # Names of folders may be invalid UTF-8.
            write_all(stream, line.encode(errors="backslashreplace"))
    except OSError as e:
        raise output_error(path, e) from e
