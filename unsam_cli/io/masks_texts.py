"""Read the records of annotations at their positions in masks files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from unsam_cli.errors import MaskFileError
from unsam_cli.io.json_text import parse_json
from unsam_cli.io.masks_table import Index

Row = list[int]  # as in masks_table.Index
_GAP = 4096  # bytes between two records that are still read at once


class MaskTexts:
    """The JSON texts of annotations. Several threads may use it.

    Attributes
    ----------
    rows : (n, 5) int64
        See `Index.table`.
    sources : list of Source
        The files.
    """

    def __init__(self, index: Index, *, crowds_as_masks: bool) -> None:
        self._as_masks = crowds_as_masks
        self._renumbered = index.renumbered
        self.rows = index.table()
        self.sources = index.sources
        self._text_ids = index.text_ids

    def of(self, image_id: int) -> Iterator[tuple[Row, bytes]]:
        """Yield the rows of an image and the text of each; neighbours are read at once."""
        ids = self.rows[:, 0]
        first, last = ids.searchsorted(image_id), ids.searchsorted(image_id, side="right")
        rows: list[Row] = self.rows[first:last].tolist()
        begin = 0
        for end in range(1, len(rows) + 1):
            if end == len(rows) or not _neighbours(rows[end - 1], rows[end]):
                place = rows[begin][3]
                size = rows[end - 1][3] + rows[end - 1][4] - place
                block = self.sources[rows[begin][2]].read_at(place, size)
                for row in rows[begin:end]:
                    yield row, block[row[3] - place : row[3] - place + row[4]]
                begin = end

    def records(self, image_id: int) -> list[tuple[str, int, dict[str, Any]]]:
        """Return the annotations of an image: name in messages, number in the file, record.

        Raises
        ------
        MaskFileError
            The file has changed since it was opened.
        """
        rows = [(row, *self.parse(row, text)) for row, text in self.of(image_id)]
        if self._as_masks:
            rows = [(row, name, {**record, "iscrowd": 0}) for row, name, record in rows]
        numbers = {record["id"]: row[1] for row, _, record in rows if row[2] in self._renumbered}
        if numbers:
            rows = [(row, name, _renumbered(record, numbers)) for row, name, record in rows]
        return [(name, row[1], record) for row, name, record in rows]

    def parse(self, row: Row, text: bytes) -> tuple[str, dict[str, Any]]:
        """Return name, for messages, and content of a record.

        Raises
        ------
        MaskFileError
            The file has changed since it was opened.
        """
        image_id, number, source_index, _, _ = row
        source = self.sources[source_index]
        name = f"record {number} of the annotations"
        image = self._text_ids.get(image_id, image_id)
        try:
            record = parse_json(text)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise MaskFileError(
                f"{source.name}: {name} (image {image}): the file has changed since it was "
                "opened; run again"
            )
        name = f"annotation {record['id']}" if record.get("id") is not None else name
        return f"{source.name}: {name} (image {image})", record


def _renumbered(record: dict[str, Any], numbers: dict[Any, int]) -> dict[str, Any]:
    """Replace ids of annotations that are text by the numbers of their records."""
    own, parent = record.get("id"), record.get("parent_id")
    found = {"id": numbers.get(own)}
    if isinstance(parent, str | int | float):
        found["parent_id"] = numbers.get(parent)
    return {**record, **found}


def _neighbours(row: Row, following: Row) -> bool:
    """Whether two rows lie so close in one file that the gap is read, too."""
    gap = following[3] - (row[3] + row[4])
    return row[2] == following[2] and 0 <= gap < _GAP
