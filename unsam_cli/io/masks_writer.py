"""Write masks as COCO JSON, as a stream: one image or annotation per line.

So a file of any size can be read record by record, and ``grep`` and ``diff`` work on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

import orjson

CATEGORIES = [{"id": 1, "name": "entity"}]

ImageAnnotations = Iterable[list[dict[str, Any]]]


def number_annotations(groups: ImageAnnotations) -> Iterator[dict[str, Any]]:
    """Yield finished annotations: ids from 1 over the whole file, parents by id.

    Parameters
    ----------
    groups : iterable of list of dict
        The annotations of each image in turn. `parent` of an annotation is an index into its own
        list, or None. Annotations that have an `id` keep it.

    Yields
    ------
    dict
        Annotations with `id` and `parent_id`.
    """
    base = 1
    for group in groups:
        ids = [annotation.get("id", base + i) for i, annotation in enumerate(group)]
        for i, annotation in zip(ids, group, strict=True):
            parent = annotation.pop("parent", None)
            parent_id = None if parent is None else ids[parent]
            yield {"id": i, **annotation, "parent_id": parent_id}
        base += len(group)


def write_masks(
    stream: BinaryIO,
    kind: str,
    *,
    history: list[dict[str, Any]],
    marks: Mapping[str, str] | None = None,
    images: Iterable[dict[str, Any]],
    groups: ImageAnnotations,
) -> None:
    """Write a masks file.

    Parameters
    ----------
    stream : binary stream
        The stream to write to.
    kind : {'coco', 'results', 'ndjson'}
        A full COCO object, a bare list of annotations (without boxes), or one annotation per line.
    history : list of dict
        The steps that made the masks, for ``info.unsam``.
    marks : mapping of str, optional
        ``shard`` and ``image_list`` if the file is a part of a run, for ``info.unsam``.
    images : iterable of dict
        COCO image entries.
    groups : iterable of list of dict
        Annotations as :func:`number_annotations` takes them.
    """
    annotations = number_annotations(groups)
    if kind == "ndjson":
        for annotation in annotations:
            stream.write(orjson.dumps(annotation) + b"\n")
    elif kind == "results":
        # With a box, the size range of a result would depend on the box, not on the mask.
        write_list(stream, ({k: v for k, v in a.items() if k != "bbox"} for a in annotations))
        stream.write(b"\n")
    else:
        own = {"history": history, **(marks or {})}
        info = {"description": "unsam masks", "unsam": own}
        stream.write(b'{"info":' + orjson.dumps(info))
        stream.write(b',\n"categories":' + orjson.dumps(CATEGORIES))
        stream.write(b',\n"images":')
        write_list(stream, images)
        stream.write(b',\n"annotations":')
        write_list(stream, annotations)
        stream.write(b"}\n")


def write_list(stream: BinaryIO, items: Iterable[dict[str, Any]]) -> None:
    """Write a list of JSON with one record per line."""
    stream.write(b"[\n")
    separator = b""
    for item in items:
        stream.write(separator + orjson.dumps(item))
        separator = b",\n"
    stream.write(b"\n]" if separator else b"]")
