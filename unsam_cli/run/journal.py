"""The partial output: the finished images of a run, safe even if the run is killed.

Next to its target ``OUT`` a run keeps the folder ``OUT.part`` with two files: ``journal.ndjson``
has a line for the settings and then a line per image, and ``blob.bin`` has the raw arrays that the
lines refer to. An image is done when its line is complete; an incomplete line is dropped. Each line
ends with a checksum of itself and its array. A line that is damaged on the disk is dropped, too,
and its image is recomputed. The final file is composed from the journal in the order of the images
and renamed to its place, so its bytes do not depend on interruptions.
"""

from __future__ import annotations

import fcntl
import logging
import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import orjson

from unsam_cli.errors import DataError, OutputError, UnsamError
from unsam_cli.io.scratch import scratch_error
from unsam_cli.run.differences import refuse_other_settings
from unsam_cli.run.output import output_error
from unsam_cli.run.own_files import ForeignFileError, make_own_folder, open_own, write_all

logger = logging.getLogger(__name__)

_LINES, _BLOB = "journal.ndjson", "blob.bin"
_SUM = b',"crc":'
_CHUNK = 2**20


class Journal:
    """Append-only store of one JSON record, and optionally one blob, for each image.

    Parameters
    ----------
    target : Path or None
        The output that the journal belongs to. None (standard output) uses a temporary folder.
    settings : dict
        Settings that must be the same when a run is resumed, as plain JSON values.
    resume : bool
        Whether to keep the results of an earlier run or to start over.

    Raises
    ------
    UsageError
        A run is resumed with other settings; the message names the first difference.
    OutputError
        The folder cannot be written, or another process is writing to it.
    """

    def __init__(self, target: Path | None, settings: dict[str, Any], *, resume: bool) -> None:
        self.target = target
        self.entries: dict[int, tuple[int, int]] = {}  # image id -> (start, length) of its line
        try:
            self.folder = _make_folder(target)
            self._lines = _open(self.folder / _LINES)
            self._blob = _open(self.folder / _BLOB)
        except OSError as e:
            raise _error(target, e) from e
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

    def _lock(self) -> None:
        try:
            fcntl.flock(self._lines, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            raise self._another_writer() from e
        except OSError:  # a file system without locks
            logger.info("%s cannot be locked", self.folder)
        if not os.fstat(self._lines.fileno()).st_nlink:  # deleted by its last owner
            raise self._another_writer()

    def _another_writer(self) -> OutputError:
        return OutputError(
            f"{self.target}: another process is writing it ({self.folder} is locked); "
            "wait for it, or choose another output"
        )

    def _start(self, settings: dict[str, Any]) -> None:
        if self._lines.seek(0, os.SEEK_END):
            logger.warning("discarding the unfinished %s; --resume would continue it", self.folder)
        self._lines.truncate(0)
        self._blob.truncate(0)
        self._append_settings(settings)

    def _load(self, settings: dict[str, Any]) -> None:
        """Keep the lines up to the last undamaged one, and cut off the rest."""
        line_end = blob_end = position = damaged = 0
        with os.fdopen(os.dup(self._lines.fileno()), "rb") as stream:  # with a buffer
            stream.seek(0)
            for line in stream:
                if not line.endswith(b"\n"):  # the run was killed while it wrote the line
                    break
                record = self._sound(line, blob_end)
                if position == 0:
                    self._refuse_other(record, settings)
                elif record is None or "id" not in record:
                    damaged += 1
                else:
                    self.entries[record["id"]] = (position, len(line))
                    blob_end = record["blob"][1]
                position += len(line)
                line_end = position if record else line_end
        if damaged:
            logger.warning(
                "%s: %d damaged lines; their images are recomputed",
                self.folder,
                damaged,
            )
        self._lines.truncate(line_end)
        self._blob.truncate(blob_end)
        if line_end == 0:
            self._append_settings(settings)

    def _refuse_other(self, record: dict[str, Any] | None, settings: dict[str, Any]) -> None:
        if record is None:
            raise DataError(
                f"{self.folder}: its first line is damaged, so its content is unknown; "
                "delete the folder, or start over without --resume"
            )
        refuse_other_settings(record, settings, self.folder)

    def _sound(self, line: bytes, begin: int) -> dict[str, Any] | None:
        """Return the record of a line, or None if the line or its blob is damaged.

        Blobs are stored in the order of the lines, so the blob cannot begin before `begin`.
        """
        body, _, end = line.rpartition(_SUM)
        if not end.endswith(b"}\n") or not end[:-2].isdigit():
            return None
        try:
            record = orjson.loads(line)
            start, stop = record["blob"] if "id" in record else (begin, begin)
            known = isinstance(record.get("id", 0), int) and begin <= start <= stop
        except (AttributeError, KeyError, TypeError, ValueError):
            return None
        if not known or stop > os.fstat(self._blob.fileno()).st_size:
            return None
        found = zlib.crc32(body)
        for chunk in self._chunks(start, stop):
            found = zlib.crc32(chunk, found)
        if found != record.pop("crc"):
            return None
        sound: dict[str, Any] = record
        return sound

    def _chunks(self, start: int, stop: int) -> Iterator[bytes]:
        for place in range(start, stop, _CHUNK):
            yield os.pread(self._blob.fileno(), min(_CHUNK, stop - place), place)

    def _append_settings(self, settings: dict[str, Any]) -> None:
        body = _body(settings)
        self._append_line(body, zlib.crc32(body))

    def _append_line(self, body: bytes, crc: int) -> tuple[int, int]:
        line = b"%b%b%d}\n" % (body, _SUM, crc)
        start = self._lines.seek(0, os.SEEK_END)
        write_all(self._lines, line)
        return start, len(line)

    def append(self, image_id: int, record: dict[str, Any], blob: bytes | memoryview = b"") -> None:
        """Store the result of one image; it is safe if the run is killed right afterwards.

        Raises
        ------
        OutputError
            The disk is full or fails. Earlier results are intact.
        """
        self.append_parts(image_id, record, [blob], len(blob))

    def append_parts(
        self,
        image_id: int,
        record: dict[str, Any],
        parts: Iterable[bytes | memoryview],
        length: int,
    ) -> None:
        """Like `append`, with a blob of `length` bytes in parts, of which one is held at a time."""
        try:
            end = self._blob.seek(0, os.SEEK_END)
            body = _body({"id": image_id, "blob": (end, end + length), **record})
            crc = zlib.crc32(body)
            for part in parts:
                write_all(self._blob, part)
                crc = zlib.crc32(part, crc)
            assert self._blob.tell() == end + length
            line = self._append_line(body, crc)
        except OSError as e:
            raise _error(self.target, e) from e
        self.entries[image_id] = line

    def read(self, image_id: int) -> dict[str, Any]:
        """Return the record of an image; its key `blob` is used by :meth:`read_blob`."""
        record: dict[str, Any] = orjson.loads(self._line(image_id))
        return record

    def read_blob(self, image_id: int) -> bytes:
        """Return the blob of an image; errors are those of `blob_parts`."""
        return b"".join(self.blob_parts(image_id))

    def blob_parts(self, image_id: int) -> Iterator[bytes]:
        """Yield the blob of an image in parts.

        Raises
        ------
        OutputError
            The blob has changed since it was written; raised after the last part.
        """
        line = self._line(image_id)
        record = orjson.loads(line)
        crc = zlib.crc32(line.rpartition(_SUM)[0])
        for chunk in self._chunks(*record["blob"]):
            crc = zlib.crc32(chunk, crc)
            yield chunk
        if crc != record["crc"]:
            raise OutputError(
                f"{self.folder}: its data of image {image_id} has changed on the disk; run "
                "again with --resume"
            )

    def _line(self, image_id: int) -> bytes:
        start, length = self.entries[image_id]
        return os.pread(self._lines.fileno(), length, start)

    def close(self, *, discard: bool) -> None:
        """Close the files; delete them with `discard`, or if there is no target to resume."""
        if discard or self.target is None:  # while this process still holds the lock
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


def _body(record: dict[str, Any]) -> bytes:
    """Return the beginning of a line, which its checksum follows."""
    return orjson.dumps(record)[:-1]


def _make_folder(target: Path | None) -> Path:
    if target is None:
        return Path(tempfile.mkdtemp(prefix="unsam-"))
    folder = part_folder(target)
    make_own_folder(folder)
    return folder


def _open(path: Path) -> BinaryIO:
    """Open a file of the journal; anything else in its place is replaced."""
    try:
        return open_own(path)
    except ForeignFileError as e:
        logger.warning("%s: it is replaced, and its content is not used", e)
        path.unlink()
        return open_own(path)


def _error(target: Path | None, e: OSError) -> UnsamError:
    return scratch_error("the partial output", e) if target is None else output_error(target, e)


def part_folder(target: Path) -> Path:
    """Return the folder of the partial output of `target`."""
    return target.with_name(target.name + ".part")


def finished_images(folder: Path) -> int:
    """Count the images that are done in the folder of an unfinished run, without opening it."""
    done = set()
    with (folder / _LINES).open("rb") as stream:
        for line in stream:
            with suppress(ValueError):
                done.add(orjson.loads(line).get("id"))
    return len(done - {None})
