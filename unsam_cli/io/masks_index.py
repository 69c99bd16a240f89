"""Index of the records of a masks file and their positions, without their content.

The index holds only the image and the position of each annotation, 40 bytes. The annotation is read
again when its image is needed. So a file may be larger than the memory, and the annotations of an
image may lie anywhere in it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from unsam_cli.errors import MaskFileError
from unsam_cli.io.annotations import is_crowd, without_mask
from unsam_cli.io.image_entries import ImageInfo, image_info
from unsam_cli.io.json_stream import JsonRecord, records
from unsam_cli.io.json_text import parse_json
from unsam_cli.io.kinds import HEAD, mistaken
from unsam_cli.io.left_out import LeftOut, number_of
from unsam_cli.io.masks_table import FIELDS, LATER, Index
from unsam_cli.io.sources import Source
from unsam_cli.io.values import as_whole

_BLANK = b"\xef\xbb\xbf \t\r\n"  # including the byte order mark that Windows programs write


def add_source(index: Index, source: Source) -> None:
    """Index one file.

    Raises
    ------
    MaskFileError
        It is not a masks file, or a record lacks an image, or repeats an id.
    """
    begin, seen = len(index.rows), set[str]()
    first_left_out = len(index.left_out)
    ids = array("q")
    single: ImageInfo | None = None
    index.sources.append(source)
    if not source.read_at(0, 1):
        raise MaskFileError(f"{source.name}: empty file; write it again")
    lines = _one_record_a_line(source)
    for record in _records(source, lines):
        seen.add(record.key)
        if record.kind == "key" or record.text == b"null":
            continue
        where = f"{source.name}: {record.key}"
        if record.key in ("annotations", "images") and record.kind == "value":
            raise MaskFileError(f"{where} must be a list; this is not a COCO file")
        if record.key in ("annotations", ""):
            if index.form.annotations:
                _add_annotation(index, record, ids)
        elif record.key == "images" or (record.key, record.kind) == ("image", "value"):
            info = _add_image(index, record, source)
            single = info if record.key == "image" else single
        else:
            _add_other(index, record, source)
    if not seen & {"", "annotations", "images", "image"} and not _starts_with(source, b"["):
        raise MaskFileError(
            f"{source.name}: has neither images nor annotations; give a COCO file of masks"
        )
    _assign_image(index, begin, first_left_out, single, source)
    if index.form.unique and len(index.sources) - 1 not in index.renumbered:
        _refuse_repeated(ids, source)


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
        own = number if value.get("id") is None else as_whole(value["id"])
        if own is None:
            index.texts.check(value["id"], "id")
            index.renumbered.add(len(index.sources) - 1)
        ids.append(number if own is None else own)
        image = LATER
        if value.get("image_id") is not None:
            image = index.texts.number(value["image_id"], "image_id")
    except ValueError as error:
        raise MaskFileError(f"{where}: {error}") from error
    reason = without_mask(value) if index.form.masks else None
    if reason is not None:
        index.left_out.append(LeftOut(image, number_of(value, number), reason))
        return
    if not record.key and isinstance(name := value.get("file_name"), str):
        index.names.setdefault(image, name)
    place = (number, len(index.sources) - 1, record.start, len(record.text))
    index.rows.extend((image, *place))
    with suppress(ValueError):  # reported when the annotation is read
        index.crowds[image] += is_crowd(value)


def _add_image(index: Index, record: JsonRecord, source: Source) -> ImageInfo:
    where = f"{source.name}: record {len(index.images) + 1} of the images"
    value = _parsed(record, where)
    try:
        key = "id" if value.get("id") is not None else "image_id"
        image_id = index.texts.number(value.get(key), key)
        info = image_info(value, image_id=image_id, sized=index.form.sized)
    except ValueError as error:
        raise MaskFileError(f"{where}: {error}") from error
    other = index.images.setdefault(info.id, info)
    if other is not info:
        if record.key != "images" or len(index.sources) > 1 or other != info:
            raise MaskFileError(
                f"{where}: image id {value[key]} is taken by {other.file_name}; ids must be unique"
            )
        index.repeated += 1
    return info


def _add_other(index: Index, record: JsonRecord, source: Source) -> None:
    """Keep `info`, and categories; without an id, no annotation can refer to them."""
    if (record.key, record.kind) == ("info", "value"):
        index.info = _checked_info(record, source)
    if record.kind != "element" or not record.key.endswith("categories"):
        return
    try:
        value = parse_json(record.text)
    except ValueError:
        return
    category = value.get("id") if isinstance(value, dict) else None
    known = as_whole(category)
    if known is not None:
        index.categories[known] = value
    elif isinstance(category, str):
        index.categories[category] = value


def _checked_info(record: JsonRecord, source: Source) -> dict[str, Any]:
    """Return the object `info`; only what this program wrote in it is used."""
    try:
        info = parse_json(record.text)
    except ValueError as error:
        raise MaskFileError(f"{source.name}: info: damaged: {error}") from error
    if not isinstance(info, dict):
        return {}
    own = info.get("unsam", {})
    if not isinstance(own, dict) or not isinstance(own.get("history", []), list):
        raise MaskFileError(
            f"{source.name}: info.unsam is not in the form that unsam writes; remove it"
        )
    return info


def _assign_image(
    index: Index, begin: int, first: int, single: ImageInfo | None, source: Source
) -> None:
    """Give annotations without an image the image of their SA-1B file."""
    for at in range(begin, len(index.rows), FIELDS):
        if index.rows[at] == LATER:
            if single is None:
                raise MaskFileError(
                    f"{source.name}: record {index.rows[at + 1]} of the annotations: "
                    "image_id is missing"
                )
            index.rows[at] = single.id
    if single is not None:
        index.crowds[single.id] += index.crowds.pop(LATER, 0)
        for at, one in enumerate(index.left_out[first:], start=first):
            if one.image_id == LATER:
                index.left_out[at] = LeftOut(single.id, one.annotation, one.reason)


def _refuse_repeated(ids: array[int], source: Source) -> None:
    values = np.array(ids, dtype=np.int64)
    order = np.argsort(values, kind="stable")
    repeated = np.flatnonzero(np.diff(values[order]) == 0)
    if len(repeated):
        first, second = np.sort(order[repeated[0] : repeated[0] + 2]) + 1
        raise MaskFileError(
            f"{source.name}: records {first} and {second} both have annotation id "
            f"{values[first - 1]}; ids must be unique: unsam convert coco gives new ones"
        )
