"""Index of the records of a masks file and their positions, without their content.

The index holds only the image and the position of each annotation, 40 bytes. The annotation is read
again when its image is needed. So a file may be larger than the memory, and the annotations of an
image may lie anywhere in it.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unsam_cli.errors import MaskFileError
from unsam_cli.io.annotations import ImageInfo, image_info, whole
from unsam_cli.io.json_stream import JsonRecord, parse_json, records
from unsam_cli.io.kinds import HEAD, mistaken
from unsam_cli.io.sources import Source

_BLANK = b"\xef\xbb\xbf \t\r\n"  # including the byte order mark that Windows programs write
_FIELDS = 5  # numbers in a row
_LATER = -(2**63)  # stands for an image that the file names elsewhere


@dataclass(slots=True)
class Index:
    """Images and positions of annotations of one or more files.

    Attributes
    ----------
    images : dict
        Image entries by id.
    info : dict
        The object `info`; that of the last file if there are several.
    sources : list of Source
        The files.
    rows : array of int64
        Five numbers per annotation: its image, its number in its file from 1, the index of the
        file, its first byte and its length.
    crowds : Counter
        Number of annotations with ``iscrowd`` by image.
    """

    images: dict[int, ImageInfo] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    sources: list[Source] = field(default_factory=list)
    rows: array[int] = field(default_factory=lambda: array("q"))
    crowds: Counter[int] = field(default_factory=Counter)

    def table(self) -> NDArray[np.int64]:
        """Return the rows, (n, 5) int64, sorted by image and then in the order of the files."""
        rows = np.array(self.rows, dtype=np.int64).reshape(-1, _FIELDS)
        return rows[np.argsort(rows[:, 0], kind="stable")]


def add_source(index: Index, source: Source) -> None:
    """Index one file.

    Raises
    ------
    MaskFileError
        It is not a masks file, or a record lacks an id or an image, or repeats an id.
    """
    begin, seen = len(index.rows), set[str]()
    ids = array("q")
    single: ImageInfo | None = None
    index.sources.append(source)
    if not source.read_at(0, 1):
        raise MaskFileError(f"{source.name}: empty file; write it again")
    lines = _one_record_a_line(source)
    for record in _records(source, lines):
        seen.add(record.key)
        if record.kind == "key":
            continue
        where = f"{source.name}: {record.key}"
        if record.key in ("annotations", "images") and record.kind == "value":
            raise MaskFileError(f"{where} must be a list; this is not a COCO file")
        if record.key in ("annotations", ""):
            _add_annotation(index, record, ids)
        elif record.key == "images" or (record.key, record.kind) == ("image", "value"):
            info = _add_image(index, record, source)
            single = info if record.key == "image" else single
        elif (record.key, record.kind) == ("info", "value"):
            index.info = _checked_info(_parsed(record, where), source)
    if not seen & {"", "annotations", "images", "image"} and not _starts_with(source, b"["):
        raise MaskFileError(
            f"{source.name}: has neither images nor annotations; give a COCO file of masks"
        )
    _assign_image(index, begin, single, source)
    _refuse_repeated(ids, source)


def check_image_ids(index: Index) -> None:
    """Raise a MaskFileError if images are listed, but not that of an annotation."""
    if not index.images:
        return
    table = index.table()
    known = np.fromiter(index.images, dtype=np.int64)
    strange = table[~np.isin(table[:, 0], known)]
    if len(strange):
        image, number, source = strange[0, :3].tolist()
        raise MaskFileError(
            f"{index.sources[source].name}: record {number} of the annotations belongs to image "
            f"{image}, which is not among the images; add the image or remove the annotation"
        )


def _records(source: Source, lines: bool) -> Iterator[JsonRecord]:
    try:
        yield from records(source.read_at, lines=lines)
    except MaskFileError:
        raise
    except ValueError as error:
        told = mistaken(source.read_at(0, HEAD), "masks")
        text = told or f"not JSON: {error}; give a COCO file of masks"
        raise MaskFileError(f"{source.name}: {text}") from error


def _one_record_a_line(source: Source) -> bool:
    """Whether the file begins with an annotation, by its keys: it may be one line of any size."""
    seen = set[str]()
    try:
        for record in records(source.read_at):
            if record.key in ("annotations", "images", "image"):
                return False
            if record.kind == "key":
                seen.add(record.key)
            elif record.kind == "element" and not record.key:  # a list
                return False
    except ValueError:  # what follows the first record
        pass
    return "image_id" in seen


def _starts_with(source: Source, text: bytes) -> bool:
    return source.read_at(0, 2**16).lstrip(_BLANK).startswith(text)


def _parsed(record: JsonRecord, where: str) -> dict[str, Any]:
    try:
        value = parse_json(record.text)
    except ValueError as error:
        raise MaskFileError(f"{where}: damaged at byte {record.start}: {error}") from error
    if not isinstance(value, dict):
        raise MaskFileError(f"{where}: must be an object, got {record.text[:40]!r}")
    return value


def _add_annotation(index: Index, record: JsonRecord, ids: array[int]) -> None:
    number, source = len(ids) + 1, index.sources[-1]
    where = f"{source.name}: record {number} of the annotations"
    value = _parsed(record, where)
    try:
        ids.append(whole(value, "id", default=number))
        image = whole(value, "image_id") if "image_id" in value else _LATER
    except ValueError as error:
        raise MaskFileError(f"{where}: {error}") from error
    place = (number, len(index.sources) - 1, record.start, len(record.text))
    index.rows.extend((image, *place))
    if value.get("iscrowd"):
        index.crowds[image] += 1


def _add_image(index: Index, record: JsonRecord, source: Source) -> ImageInfo:
    where = f"{source.name}: record {len(index.images) + 1} of the images"
    value = _parsed(record, where)
    try:
        info = image_info(value)
    except ValueError as error:
        raise MaskFileError(f"{where}: {error}") from error
    if info.id in index.images:
        raise MaskFileError(f"{where}: image id {info.id} is taken; ids must be unique")
    index.images[info.id] = info
    return info


def _checked_info(info: dict[str, Any], source: Source) -> dict[str, Any]:
    own = info.get("unsam", {})
    if not isinstance(own, dict) or not isinstance(own.get("history", []), list):
        raise MaskFileError(
            f"{source.name}: info.unsam is not in the form that unsam writes; remove it"
        )
    return info


def _assign_image(index: Index, begin: int, single: ImageInfo | None, source: Source) -> None:
    """Give annotations without an image the image of their SA-1B file."""
    for at in range(begin, len(index.rows), _FIELDS):
        if index.rows[at] == _LATER:
            if single is None:
                raise MaskFileError(
                    f"{source.name}: record {index.rows[at + 1]} of the annotations: "
                    "image_id is missing"
                )
            index.rows[at] = single.id


def _refuse_repeated(ids: array[int], source: Source) -> None:
    values = np.array(ids, dtype=np.int64)
    order = np.argsort(values, kind="stable")
    repeated = np.flatnonzero(np.diff(values[order]) == 0)
    if len(repeated):
        first, second = np.sort(order[repeated[0] : repeated[0] + 2]) + 1
        raise MaskFileError(
            f"{source.name}: records {first} and {second} both have annotation id "
            f"{values[first - 1]}; ids must be unique"
        )
