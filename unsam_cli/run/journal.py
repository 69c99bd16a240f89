"""The partial output: what a run has finished so far, safe against being killed at any moment.

Beside its target ``OUT`` a run keeps the folder ``OUT.part``: ``journal.ndjson``, a line for the
settings and then a line an image, and ``blob.bin``, the raw arrays that the lines point into. An
image is done when its whole line is there, so a half-written one is simply dropped. The final file
is composed from the journal in the order of the images and renamed into place: whatever was
interrupted, skipped or resumed on the way, the bytes are the same.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import orjson

from unsam_cli.errors import OutputError, UsageError

logger = logging.getLogger(__name__)

_LINES, _BLOB = "journal.ndjson", "blob.bin"


class Journal:
    """Append-only store of one JSON record, and optionally one blob, for each image.

    Parameters
    ----------
    target : Path or None
        The output it belongs to; None (standard output) keeps it in a temporary folder.
    settings : dict
        What must not differ when resuming: plain JSON values.
    resume : bool
        Keep what an earlier run left; otherwise start anew.

    Raises
    ------
    UsageError
        Resuming with other settings; the first difference is named.
    OutputError
        The folder cannot be written, or another process is writing it.
    """

    def __init__(self, target: Path | None, settings: dict[str, Any], *, resume: bool) -> None:
        self.target = target
        self.entries: dict[int, tuple[int, int]] = {}  # image id -> (start, length) of its line
        try:
            self.folder = self._make_folder(target)
            self._lines: BinaryIO = open(self.folder / _LINES, "a+b", buffering=0)
            self._blob: BinaryIO = open(self.folder / _BLOB, "a+b", buffering=0)
        except OSError as e:
            raise output_error(target, e) from e
        try:
            self._lock()
            if resume:
                self._load(settings)
            else:
                self._start(settings)
        except BaseException:
            self._lines.close()
            self._blob.close()
            raise

    @staticmethod
    def _make_folder(target: Path | None) -> Path:
        if target is None:
            return Path(tempfile.mkdtemp(prefix="unsam-"))
        folder = part_folder(target)
        folder.mkdir(exist_ok=True)
        return folder

    def _lock(self) -> None:
        try:
            fcntl.flock(self._lines, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            raise self._another_writer() from e
        except OSError:  # a file system without locks
            logger.info("%s cannot be locked", self.folder)
        if not os.fstat(self._lines.fileno()).st_nlink:  # deleted by its last owner, who is done
            raise self._another_writer()

    def _another_writer(self) -> OutputError:
        return OutputError(
            f"{self.target}: another process is writing it ({self.folder} is locked); "
            "wait for it, or choose another output"
        )

    def _start(self, settings: dict[str, Any]) -> None:
        if self._lines.seek(0, os.SEEK_END):
            logger.warning("discarding the unfinished %s; --resume continues one", self.folder)
        self._lines.truncate(0)
        self._blob.truncate(0)
        self._append_line(settings)

    def _load(self, settings: dict[str, Any]) -> None:
        """Take over whole lines whose blobs are there, and cut off what follows them."""
        blob_size = self._blob.seek(0, os.SEEK_END)
        line_end = blob_end = 0
        self._lines.seek(0)
        with open(self.folder / _LINES, "rb") as stream:
            for line in stream:
                record = _parse(line)
                if record is None or record.get("blob", (0, 0))[1] > blob_size:
                    break
                if line_end == 0:
                    refuse_other_settings(record, settings, self.folder)
                else:
                    self.entries[record["id"]] = (line_end, len(line))
                    blob_end = record["blob"][1]
                line_end += len(line)
        self._lines.truncate(line_end)
        self._blob.truncate(blob_end)
        if line_end == 0:
            self._append_line(settings)

    def _append_line(self, record: dict[str, Any]) -> tuple[int, int]:
        line = orjson.dumps(record) + b"\n"
        start = self._lines.seek(0, os.SEEK_END)
        _write_all(self._lines, line)
        return start, len(line)

    def append(self, image_id: int, record: dict[str, Any], blob: bytes | memoryview = b"") -> None:
        """Store what was computed for one image; it is kept even if the next moment kills the run.

        Raises
        ------
        OutputError
            The disk is full or fails; what was stored before is intact.
        """
        try:
            end = self._blob.seek(0, os.SEEK_END)
            _write_all(self._blob, blob)
            span = (end, end + len(blob))
            self.entries[image_id] = self._append_line({"id": image_id, "blob": span, **record})
        except OSError as e:
            raise output_error(self.target, e) from e

    def read(self, image_id: int) -> dict[str, Any]:
        """Return the record of an image; `blob` in it is for :meth:`read_blob`."""
        start, length = self.entries[image_id]
        self._lines.seek(start)
        record: dict[str, Any] = orjson.loads(self._lines.read(length))
        return record

    def read_blob(self, image_id: int) -> bytes:
        """Return the blob of an image."""
        start, stop = self.read(image_id)["blob"]
        self._blob.seek(start)
        return self._blob.read(stop - start)

    def close(self, *, discard: bool) -> None:
        """Close the files; `discard` deletes them, and so does having no target to resume."""
        if discard or self.target is None:  # while the lock is held, and nothing of others
            for name in (_LINES, _BLOB):
                Path(self.folder, name).unlink(missing_ok=True)
        self._lines.close()
        self._blob.close()
        if discard or self.target is None:
            with suppress(OSError):
                self.folder.rmdir()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close(discard=kind is None)


def part_folder(target: Path) -> Path:
    """Return the folder of the partial output of `target`."""
    return target.with_name(target.name + ".part")


def refuse_other_settings(old: dict[str, Any], new: dict[str, Any], where: Path) -> None:
    """Raise a UsageError that names the first setting in which `old` and `new` differ."""
    difference = first_difference(old, new)
    if difference is not None:
        key, before, now = difference
        raise UsageError(
            f"{where}: cannot resume, {key} was {before!r} and is now {now!r}; "
            "use the same settings, or start anew without --resume"
        )


def first_difference(old: dict[str, Any], new: dict[str, Any]) -> tuple[str, object, object] | None:
    """Return (dotted key, old value, new value) of a difference, the most telling first."""
    before, now = _flatten(old), _flatten(new)
    differing = [k for k in before.keys() | now.keys() if before.get(k) != now.get(k)]
    if not differing:
        return None
    # A command line repeats its options: name it only when nothing else differs.
    key = min(differing, key=lambda k: (k.endswith("command"), k))
    return key, before.get(key), now.get(key)


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, list):
        value = {str(i): inner for i, inner in enumerate(value)}
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat.update(_flatten(inner, f"{prefix}.{key}" if prefix else key))
    return flat


def _parse(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        record: dict[str, Any] = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return record


def _write_all(stream: BinaryIO, data: bytes | memoryview) -> None:
    view = memoryview(data).cast("B")
    while view:
        view = view[stream.write(view) :]


def output_error(target: Path | None, e: OSError) -> OutputError:
    """Return `e` as one line about the output, with the mend that its cause suggests."""
    name = "standard output" if target is None else str(target)
    if e.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputError(f"{name}: no space left; free some and run again with --resume")
    if e.errno == errno.ENOENT and target is not None:
        return OutputError(f"{name}: the folder {target.parent} does not exist; make it first")
    return OutputError(f"{name}: {e.strerror or e}; check the folder, or choose another output")
