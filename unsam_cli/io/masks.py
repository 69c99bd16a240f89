"""Read masks files, COCO JSON in all common forms, image by image.

These forms are full COCO objects, bare lists of results, one annotation per line, and SA-1B files
or folders of them, with or without gzip. Masks are polygons or RLE, compressed or not.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unsam_cli.errors import MaskFileError, UnsamError
from unsam_cli.io.annotations import Annotation, ImageInfo, annotation
from unsam_cli.io.json_stream import parse_json
from unsam_cli.io.masks_index import Index, add_source, check_image_ids
from unsam_cli.io.sources import Spool, json_files, open_path

Row = list[int]  # as in masks_index.Index
_GAP = 4096  # bytes between two records that are still read at once

__all__ = ["Annotation", "ImageInfo", "ImageMasks", "MasksFile", "read_masks"]


@dataclass(frozen=True, slots=True)
class ImageMasks:
    """An image and its masks.

    Attributes
    ----------
    image : dict
        `id`, and `file_name`, `height` and `width` if the file lists images.
    annotations : list of Annotation
        In the order of the file.
    """

    image: dict[str, Any]
    annotations: list[Annotation]


class MasksFile:
    """An indexed masks file, whose annotations are read and checked on demand.

    Several threads may use it.

    Attributes
    ----------
    images : dict
        `ImageInfo` by id; empty if the file lists no images, as a bare list of results.
    info : dict
        The object `info` of the file, whose key `unsam` is the provenance.
    """

    def __init__(self, index: Index, spool: Spool) -> None:
        self.images = index.images
        self.info = index.info
        self._sources = index.sources
        self._rows = index.table()
        self._crowds = index.crowds
        self._spool = spool  # kept alive for the sources

    def __len__(self) -> int:
        """Count the annotations."""
        return len(self._rows)

    @property
    def unique_ids(self) -> bool:
        """Whether ids of annotations are unique and final: those of a folder or of a shard are not.

        ``merge`` numbers the annotations of shards, each of which begins with 1.
        """
        own = self.info.get("unsam", {})
        return len(self._sources) == 1 and not (isinstance(own, dict) and own.get("shard"))

    @property
    def image_ids(self) -> list[int]:
        """Ids of the images that are listed or have annotations, ascending."""
        found: list[int] = np.unique(self._rows[:, 0]).tolist()
        return sorted(self.images.keys() | set(found))

    def counts(self, *, crowds: bool = True) -> dict[int, int]:
        """Count the annotations of every image that has any, with or without crowd regions."""
        ids, found = np.unique(self._rows[:, 0], return_counts=True)
        every = dict(zip(ids.tolist(), found.tolist(), strict=True))
        return every if crowds else {i: n - self._crowds[i] for i, n in every.items()}

    def annotations_of(self, image_id: int) -> list[Annotation]:
        """Read the annotations of one image, in the order of the file; none for an unknown one.

        Raises
        ------
        MaskFileError
            An annotation is invalid; the message names it.
        """
        image = self.images.get(image_id)
        return [self._annotation(row, text, image) for row, text in self._texts(image_id)]

    def checksum(self, image_id: int) -> int:
        """Return a checksum of the annotations of an image in the file."""
        found = 0
        for _, text in self._texts(image_id):
            found = zlib.crc32(text, found)
        return found

    def records_of(self, image_id: int) -> list[tuple[str, dict[str, Any]]]:
        """Parse the annotations of one image without checking their keys.

        Returns
        -------
        list of (name, record)
            Records in the order of the file. The name identifies file and annotation in messages.

        Raises
        ------
        MaskFileError
            The file has changed since it was opened.
        """
        return [self._parse(row, text) for row, text in self._texts(image_id)]

    def image_masks(
        self, on_error: Callable[[dict[str, Any], UnsamError], None] | None = None
    ) -> Iterator[ImageMasks]:
        """Yield every image with its masks, by ascending id.

        Parameters
        ----------
        on_error : callable, optional
            Called with an image entry and the error of its annotations; the image is left out.

        Raises
        ------
        MaskFileError
            An annotation is invalid and `on_error` is not given; the message names it.
        """
        for image_id in self.image_ids:
            info = self.images.get(image_id)
            image = asdict(info) if info else {"id": image_id}
            try:
                found = self.annotations_of(image_id)
            except MaskFileError as error:
                if on_error is None:
                    raise
                on_error(image, error)
            else:
                yield ImageMasks(image, found)

    def _texts(self, image_id: int) -> Iterator[tuple[Row, bytes]]:
        """Yield the rows of an image and the text of each; neighbours are read at once."""
        ids = self._rows[:, 0]
        first, last = ids.searchsorted(image_id), ids.searchsorted(image_id, side="right")
        rows: list[Row] = self._rows[first:last].tolist()
        begin = 0
        for end in range(1, len(rows) + 1):
            if end == len(rows) or not _neighbours(rows[end - 1], rows[end]):
                place = rows[begin][3]
                size = rows[end - 1][3] + rows[end - 1][4] - place
                block = self._sources[rows[begin][2]].read_at(place, size)
                for row in rows[begin:end]:
                    yield row, block[row[3] - place : row[3] - place + row[4]]
                begin = end

    def _annotation(self, row: Row, text: bytes, image: ImageInfo | None) -> Annotation:
        name, record = self._parse(row, text)
        try:
            return annotation(record, number=row[1], image_id=row[0], image=image)
        except MaskFileError:
            raise
        except ValueError as error:
            raise MaskFileError(f"{name}: {error}; fix or remove it") from error

    def _parse(self, row: Row, text: bytes) -> tuple[str, dict[str, Any]]:
        image_id, number, source_index, _, _ = row
        source = self._sources[source_index]
        name = f"record {number} of the annotations"
        try:
            record = parse_json(text)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise MaskFileError(
                f"{source.name}: {name} (image {image_id}): the file has changed since it was "
                "opened; run again"
            )
        name = f"annotation {record['id']}" if "id" in record else name
        return f"{source.name}: {name} (image {image_id})", record


def _neighbours(row: Row, following: Row) -> bool:
    """Whether two rows lie so close in one file that the gap is read, too."""
    gap = following[3] - (row[3] + row[4])
    return row[2] == following[2] and 0 <= gap < _GAP


def read_masks(source: Path, *, name: str | None = None) -> MasksFile:
    """Open a masks file of any form.

    All records are found now, and their ids are checked. Masks are checked when they are read.

    Parameters
    ----------
    source : Path
        A file, or a folder of ``.json`` files.
    name : str, optional
        Name of a single file in messages; its path by default.

    Raises
    ------
    MissingInputError
        The file does not exist, or the folder has no files.
    MaskFileError
        It is not a masks file, or one of its records is invalid.
    """
    index, spool = Index(), Spool()
    if os.path.isdir(source):
        for path in json_files(source):
            add_source(index, open_path(path, spool))
    else:
        add_source(index, open_path(source, spool, name))
    check_image_ids(index)
    return MasksFile(index, spool)
