"""Outputs that can be interrupted and resumed: masks (JSON) and features (HDF5).

Both store results in a :class:`~unsam_cli.run.journal.Journal` and compose the output from it at
the end, so interruptions do not change the output.
"""

from __future__ import annotations

import base64
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from unsam_cli.errors import DataError, UsageError
from unsam_cli.io.features import FeatureAttributes, FeatureFile, ImageEntry, Record, RegionEntry
from unsam_cli.io.features_writer import FeatureTotals, write_features
from unsam_cli.io.masks_lines import MaskLines
from unsam_cli.io.masks_writer import write_masks
from unsam_cli.run.items import Item
from unsam_cli.run.journal import Journal, refuse_other_settings
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


@dataclass(frozen=True)
class FeatureResult:
    """Features of one image: its size in pixels after EXIF rotation, a small JPEG, its records."""

    height: int
    width: int
    preview: bytes
    records: list[Record]


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
    """Masks as COCO JSON; `kind` of the settings says how they are arranged."""

    binary = False

    def add(self, item: Item, result: MaskResult, content: int | None = None) -> None:
        """Store the masks of one image."""
        record = {
            "file_name": item.file_name,
            "content": content,
            "height": result.height,
            "width": result.width,
        }
        self.made_at = 0
        # Masks are a blob, so that the list of images can be written without reading them.
        self.journal.append(item.id, record, orjson.dumps(result.annotations))

    def finish(self, order: Iterable[int]) -> None:
        """Write the masks of the given images."""
        ids = list(order)

        def write(path: Path) -> None:
            with path.open("wb") as stream:
                write_masks(
                    stream,
                    self.settings.kind,
                    history=self.history,
                    marks=self.marks,
                    images=map(self._image, ids),
                    groups=map(self._annotations, ids),
                )

        self._publish(write)
        self.journal.close(discard=True)

    def _image(self, image_id: int) -> dict[str, Any]:
        record = self.journal.read(image_id)
        return {
            "id": image_id,
            "file_name": record["file_name"],
            "height": record["height"],
            "width": record["width"],
        }

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


class FeatureSink(FileSink):
    """Features as HDF5.

    Parameters
    ----------
    attributes : callable
        Creates the attributes of the file from its complete history.
    dtype : {'float16', 'float32'}
        Element type of the stored features.
    """

    binary = True

    def __init__(
        self,
        settings: RunSettings,
        history: list[dict[str, Any]],
        *,
        attributes: Callable[[list[dict[str, Any]]], FeatureAttributes],
        dtype: str,
    ) -> None:
        self.dtype = np.dtype(dtype).newbyteorder("<")
        super().__init__(settings, history)
        self.attributes = attributes(self.history)

    def add(self, item: Item, result: FeatureResult, content: int | None = None) -> None:
        """Store the features of one image."""
        image = ImageEntry(item.id, item.file_name, result.height, result.width, result.preview)
        self.made_at = 0
        regions = [RegionEntry.of(record) for record in result.records]
        self._append(image, regions, [record.features for record in result.records], content)

    def _append(
        self,
        image: ImageEntry,
        regions: list[RegionEntry],
        features: list[npt.NDArray[Any]],
        content: int | None = None,
    ) -> None:
        record = {
            "file_name": image.file_name,
            "content": content,
            "height": image.height,
            "width": image.width,
            "preview": base64.b64encode(image.preview).decode(),
            "regions": [[r.bbox, r.counts.decode(), r.score, r.grid] for r in regions],
        }
        blob = b"".join(np.asarray(f, dtype=self.dtype).tobytes() for f in features)
        self.journal.append(image.id, record, blob)

    def _restore(self, path: Path) -> None:
        with FeatureFile(path) as file:
            self._refuse_other_history(path, file.attributes.history)
            for i in range(len(file)):
                image = file.image(i)
                if image.id not in self.journal.entries:
                    self._append(image, file.regions(i), file.image_rows(i))

    def finish(self, order: Iterable[int]) -> None:
        """Write the features of the given images."""
        ids = list(order)
        totals = self._totals(ids)

        def write(path: Path) -> None:
            attributes = self.attributes.marked(self.marks)
            write_features(path, attributes, totals, map(self._described, ids), self._chunks(ids))

        self._publish(write)
        self.journal.close(discard=True)

    def _totals(self, ids: list[int]) -> FeatureTotals:
        regions = patches = 0
        for image_id in ids:
            entries = self._described(image_id)[1]
            regions += len(entries)
            patches += sum(r.patches for r in entries)
        return FeatureTotals(len(ids), regions, patches, self.attributes.dim, self.dtype.name)

    def _described(self, image_id: int) -> tuple[ImageEntry, list[RegionEntry]]:
        record = self.journal.read(image_id)
        entry = ImageEntry(
            id=image_id,
            file_name=record["file_name"],
            height=record["height"],
            width=record["width"],
            preview=base64.b64decode(record["preview"]),
        )
        regions = [
            RegionEntry((b[0], b[1], b[2], b[3]), counts.encode(), score, (g[0], g[1]))
            for b, counts, score, g in record["regions"]
        ]
        return entry, regions

    def _chunks(self, ids: list[int]) -> Iterator[bytes]:
        return map(self.journal.read_blob, ids)
