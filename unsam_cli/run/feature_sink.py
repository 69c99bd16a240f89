"""Features as an output that can be interrupted and resumed: HDF5."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unsam_cli.io.features import (
    FeatureAttributes,
    FeatureFile,
    ImageEntry,
    Record,
    Region,
    RegionEntry,
)
from unsam_cli.io.features_writer import FeatureTotals, write_features
from unsam_cli.io.geo import Georeference, placed
from unsam_cli.run.items import Item, georeference_of
from unsam_cli.run.settings import RunSettings
from unsam_cli.run.sinks import FileSink
from unsam_cli.run.spooled import SpooledRecords


@dataclass(frozen=True)
class FeatureResult:
    """Features of one image: its size in pixels after EXIF rotation, a small JPEG, its records."""

    height: int
    width: int
    preview: bytes
    records: Sequence[Record]


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

    def spooled(self, regions: Sequence[Region]) -> SpooledRecords:
        """Return what holds the records of an image until it is added."""
        return SpooledRecords(regions, self.journal.folder)

    def add(self, item: Item, result: FeatureResult, content: int | None = None) -> None:
        """Store the features of one image."""
        size, place = (result.height, result.width), georeference_of(item)
        image = ImageEntry(item.id, item.file_name, *size, result.preview, place)
        self.made_at = 0
        regions = [RegionEntry.of(record) for record in result.records]
        features = (record.features for record in result.records)
        self._append(image, regions, features, self.attributes.dim, content)

    def _append(
        self,
        image: ImageEntry,
        regions: list[RegionEntry],
        features: Iterable[npt.NDArray[Any]],
        dim: int,
        content: int | None = None,
    ) -> None:
        record = {
            "file_name": image.file_name,
            "content": content,
            "height": image.height,
            "width": image.width,
            **placed(image.georeference),
            "preview": base64.b64encode(image.preview).decode(),
            "regions": [[r.bbox, r.counts.decode(), r.score, r.grid] for r in regions],
        }
        parts = (np.asarray(f, dtype=self.dtype).tobytes() for f in features)
        length = sum(r.patches for r in regions) * dim * self.dtype.itemsize
        self.journal.append_parts(image.id, record, parts, length)

    def _restore(self, path: Path) -> None:
        with FeatureFile(path) as file:
            self._refuse_other_history(path, file.attributes.history)
            dim = file.attributes.dim
            for i in range(len(file)):
                image = file.image(i)
                if image.id not in self.journal.entries:
                    self._append(image, file.regions(i), file.image_rows(i), dim)

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
        regions, patches, on_map = 0, 0, False
        for image_id in ids:
            image, entries = self._described(image_id)
            regions += len(entries)
            patches += sum(r.patches for r in entries)
            on_map |= image.georeference is not None
        form = (self.attributes.dim, self.dtype.name)
        return FeatureTotals(len(ids), regions, patches, *form, georeferenced=on_map)

    def _described(self, image_id: int) -> tuple[ImageEntry, list[RegionEntry]]:
        record = self.journal.read(image_id)
        entry = ImageEntry(
            id=image_id,
            file_name=record["file_name"],
            height=record["height"],
            width=record["width"],
            preview=base64.b64decode(record["preview"]),
            georeference=Georeference.from_json(record.get("georeference")),
        )
        regions = [
            RegionEntry((b[0], b[1], b[2], b[3]), counts.encode(), score, (g[0], g[1]))
            for b, counts, score, g in record["regions"]
        ]
        return entry, regions

    def _chunks(self, ids: list[int]) -> Iterator[bytes]:
        return chain.from_iterable(map(self.journal.blob_parts, ids))
