"""Outputs that can be interrupted and resumed; masks as JSON.

Sinks store results in a :class:`~unsam_cli.run.journal.Journal` and compose the output from it at
the end, so interruptions do not change the output. Features: :mod:`unsam_cli.run.feature_sink`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from unsam_cli.errors import DataError, UsageError
from unsam_cli.io.geo import placed
from unsam_cli.io.masks_lines import KEPT_IDS, MaskLines
from unsam_cli.io.masks_writer import write_masks
from unsam_cli.run.differences import refuse_other_settings
from unsam_cli.run.items import Item, georeference_of
from unsam_cli.run.journal import Journal
from unsam_cli.run.output import check_output, output_path, publish
from unsam_cli.run.replacing import files_of
from unsam_cli.run.settings import RunSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MaskResult:
    """Masks of one image: its size in pixels, and its annotations with parents by index."""

    height: int
    width: int
    annotations: list[dict[str, Any]]


class JournalSink:
    """Base class of resumable sinks, with a journal of the finished images.

    Parameters
    ----------
    settings : RunSettings
        The settings of the run.
    history : list of dict
        The steps that made the input.
    journal : Path or None
        The output that the journal belongs to, see :class:`~unsam_cli.run.journal.Journal`.
    files : iterable of Path
        Files that are written in addition to this output and the list of errors.

    Raises
    ------
    UsageError
        An input would be replaced.
    """

    def __init__(
        self,
        settings: RunSettings,
        history: list[dict[str, Any]],
        journal: Path | None,
        files: Iterable[Path] = (),
    ) -> None:
        self.settings = settings
        self.history = [*history, settings.step.to_json()]
        self.output = settings.output
        self.marks: dict[str, str] = {}
        settings.refuse_replacing(
            chain(files_of(self.output if journal is None else str(journal)), files)
        )
        self.made_at = 0
        self.journal = Journal(journal, {"history": self.history}, resume=settings.resume)

    @property
    def name(self) -> str:
        """Path that the names of the journal and of the list of errors come from."""
        return self.output if self.journal.target is None else str(self.journal.target)

    @property
    def done(self) -> frozenset[int]:
        """Ids of the images that are finished."""
        return frozenset(self.journal.entries)

    def suspend(self) -> None:
        """Keep the partial output for ``--resume``."""
        self.journal.close(discard=False)

    def begin(self, items: Sequence[Item]) -> None:
        """Record all images of the run; this process may work on a shard of them.

        Raises
        ------
        DataError
            A run is resumed, and a finished image now has another name.
        """
        self.marks = self.settings.marks(items)
        for item in items if self.journal.entries else ():
            if item.id in self.journal.entries:
                before = self.journal.read(item.id)["file_name"]
                if before != item.file_name:
                    raise DataError(
                        f"{self.output}: image {item.id} was {before} and is now "
                        f"{item.file_name}; resume with the same list of images"
                    )

    def content(self, item: Item) -> int | None:
        """Return the checksum of the inputs of a finished item, if any."""
        found: int | None = self.journal.read(item.id).get("content")
        return found

    def forget(self, item: Item) -> None:
        """Mark a finished item to be recomputed."""
        del self.journal.entries[item.id]


class FileSink(JournalSink):
    """A sink that writes one file, and reuses the results of a complete earlier output."""

    binary: bool

    def __init__(self, settings: RunSettings, history: list[dict[str, Any]]) -> None:
        check_output(settings.output, binary=self.binary, no_clobber=settings.no_clobber)
        target = output_path(settings.output)
        if settings.resume and target is None:
            logger.warning("--resume has no effect without a file as output: give -o FILE")
        super().__init__(settings, history, target)
        try:
            if settings.resume and target is not None and target.exists():
                self.made_at = target.stat().st_mtime_ns
                self._restore(target)
        except BaseException:
            self.journal.close(discard=not self.journal.entries)
            raise

    def _refuse_other_history(self, path: Path, history: list[dict[str, Any]]) -> None:
        refuse_other_settings({"history": history}, {"history": self.history}, path)

    def _restore(self, path: Path) -> None:
        raise NotImplementedError

    def _publish(self, write: Callable[[Path], None]) -> None:
        """Write the output; without new results it keeps its date, which is compared to inputs."""
        publish(self.output, write)
        target = output_path(self.output)
        if self.made_at and target is not None:
            with suppress(OSError):
                os.utime(target, ns=(self.made_at, self.made_at))


class MaskSink(FileSink):
    """Masks as COCO JSON; `kind` of the settings says how they are arranged.

    Parameters
    ----------
    kept_ids : bool
        The annotations have the ids of the input, instead of new ones.
    """

    binary = False

    def __init__(
        self, settings: RunSettings, history: list[dict[str, Any]], *, kept_ids: bool = False
    ) -> None:
        super().__init__(settings, history)
        self.own = {KEPT_IDS: "yes"} if kept_ids else {}

    def add(self, item: Item, result: MaskResult, content: int | None = None) -> None:
        """Store the masks of one image."""
        record = {
            "file_name": item.file_name,
            "content": content,
            "height": result.height,
            "width": result.width,
            **placed(georeference_of(item)),
        }
        self.made_at = 0
        # Masks are a blob, so that the list of images can be written without reading them.
        self.journal.append(item.id, record, orjson.dumps(result.annotations))

    def finish(self, order: Iterable[int]) -> None:
        """Write the masks of the given images."""
        ids = list(order)

        def write(path: Path) -> None:
            with path.open("wb") as stream:
                self.write(stream, ids)

        self._publish(write)
        self.journal.close(discard=True)

    def write(self, stream: BinaryIO, ids: list[int]) -> None:
        """Write the whole file, with the given images."""
        write_masks(
            stream,
            self.settings.kind,
            history=self.history,
            marks={**self.marks, **self.own},
            images=map(self._image, ids),
            groups=map(self._annotations, ids),
        )

    def _image(self, image_id: int) -> dict[str, Any]:
        record = self.journal.read(image_id)
        kept = ("file_name", "height", "width", "georeference")
        return {"id": image_id, **{key: record[key] for key in kept if key in record}}

    def _annotations(self, image_id: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = orjson.loads(self.journal.read_blob(image_id))
        return found

    def _restore(self, path: Path) -> None:
        if self.settings.kind != "coco":
            raise UsageError(
                f"{path}: a {self.settings.kind} file does not list its images, so --resume cannot "
                "tell which are done; remove it, or use --format coco"
            )
        lines = MaskLines(path)
        self._refuse_other_history(path, lines.history)
        for image, group in lines.groups():
            if image["id"] not in self.journal.entries:
                self.journal.append(image.pop("id"), image, orjson.dumps(group))
