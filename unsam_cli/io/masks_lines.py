"""Read the COCO files that this program writes as a stream, without loss.

Such a file has one image or annotation per line, and its annotations are in the order of the
images. Resuming and merging must copy every key of a record, which the general reader
(:mod:`unsam_cli.io.masks`) does not guarantee.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from unsam_cli.errors import MaskFileError, MissingInputError
from unsam_cli.io.files import open_regular

KEPT_IDS = "kept_ids"
"""Mark of a file whose annotations have the ids of an earlier file, not 1, 2, 3..."""

Group = tuple[dict[str, Any], list[dict[str, Any]]]


class MaskLines:
    """A COCO file written by :func:`~unsam_cli.io.masks_writer.write_masks`.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    MissingInputError
        No such file.
    MaskFileError
        The layout is not that of this program.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            raise MissingInputError(f"{path}: no such file")
        self.info: dict[str, Any] = next(self._section(b'{"info":'), {})
        if "history" not in self.info.get("unsam", {}):
            raise self._error("the first line has no history of unsam")

    @property
    def history(self) -> list[dict[str, Any]]:
        """The steps that made the file."""
        history: list[dict[str, Any]] = self.info["unsam"]["history"]
        return history

    @property
    def marks(self) -> dict[str, Any]:
        """The metadata of the file; it has the key ``shard`` if the file is a part of a run."""
        own: dict[str, Any] = self.info["unsam"]
        return own

    def images(self) -> Iterator[dict[str, Any]]:
        """Yield the image entries in the order of the file."""
        return self._section(b'"images":')

    def groups(self) -> Iterator[Group]:
        """Yield each image with its annotations, whose `parent` is an index into them.

        Raises
        ------
        MaskFileError
            A line is damaged, or annotations are not in the order of the images.
        """
        annotations = self._section(b'"annotations":')
        ahead = next(annotations, None)
        for image in self.images():
            group = []
            while ahead is not None and ahead.get("image_id") == image["id"]:
                group.append(ahead)
                ahead = next(annotations, None)
            yield image, _with_local_parents(group, keep=KEPT_IDS in self.marks)
        if ahead is not None:
            raise self._error(
                f"annotation {ahead.get('id')} does not follow the order of the images"
            )

    def _section(self, head: bytes) -> Iterator[dict[str, Any]]:
        """Yield the objects of the section whose first line starts with `head`."""
        with open_regular(self.path, error=MaskFileError) as stream:
            for line in stream:
                if line.startswith(head):
                    break
            else:
                raise self._error(f"section {head.decode()} is missing")
            if not line.endswith(b"[\n"):
                yield self._parse(line[len(head) :].rstrip(b",\n"))
                return
            for line in stream:
                if line.startswith(b"]"):
                    return
                yield self._parse(line.rstrip(b",\n"))
            raise self._error("the file ends in the middle of a list")

    def _parse(self, text: bytes) -> dict[str, Any]:
        try:
            item: dict[str, Any] = orjson.loads(text)
        except orjson.JSONDecodeError as e:
            raise self._error(f"damaged line {text[:40]!r}") from e
        return item

    def _error(self, what: str) -> MaskFileError:
        return MaskFileError(f"{self.path}: {what}; expected a COCO file as unsam writes it")


def marks_of(path: Path) -> dict[str, Any]:
    """Return the metadata of a masks file of any form; an empty dict for any other file."""
    try:
        with open_regular(path, error=MaskFileError) as raw:
            compressed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            stream = gzip.GzipFile(fileobj=raw) if compressed else raw
            line = stream.readline(1 << 24)
        own = orjson.loads(line.rstrip(b",\n") + b"}")["info"]["unsam"]
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError):
        return {}
    return own if isinstance(own, dict) else {}


def _with_local_parents(group: list[dict[str, Any]], *, keep: bool) -> list[dict[str, Any]]:
    """Replace ids of parents by positions, the inverse of `number_annotations`."""
    place = {annotation["id"]: i for i, annotation in enumerate(group)}
    for annotation in group:
        if not keep:
            del annotation["id"]
        annotation["parent"] = place.get(annotation.pop("parent_id"))
    return group
