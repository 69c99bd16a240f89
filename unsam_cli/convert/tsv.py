"""Training shards of Semantic-SAM and UnSAM: one row per image with name, JSON and base64 JPEG.

``NAME.lineidx`` next to ``NAME.tsv`` holds the first byte of every row. Without it the file is
scanned for rows.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

from unsam_cli.convert.dataset import Picture, SourceImage, files_below
from unsam_cli.convert.sa1b import read_record
from unsam_cli.convert.settings import ReadSettings
from unsam_cli.errors import DataError, MaskFileError, counted
from unsam_cli.io.json_text import parse_json
from unsam_cli.io.kinds import HEAD, mistaken
from unsam_cli.io.left_out import LeftOut, LeftOuts
from unsam_cli.io.sources import FileSource

_HEAD = 2**14  # bytes at the start of a row that are searched for the image entry
_CHUNK = 2**20
_IMAGE = re.compile(rb'"image"\s*:\s*(\{[^{}]*\})')


class Tsv:
    """Training shards; see :class:`~unsam_cli.convert.dataset.Dataset`."""

    history: Sequence[dict[str, Any]] = ()
    strays: Sequence[tuple[str, LeftOut]] = ()

    def __init__(self, path: Path, settings: ReadSettings) -> None:
        self.settings, self._left_out = settings, LeftOuts()
        what = "a .tsv file, or a folder of them"
        paths = [path] if path.is_file() else files_below(path, ".tsv", what=what)
        self.rows = [(p, row, start) for p in paths for row, start in _starts(p)]
        found = sorted((*_identity(*row), i) for i, row in enumerate(self.rows))
        for one, other in pairwise(found):
            if one[0] == other[0]:
                places = [_where(*self.rows[k][:2]) for k in (one[2], other[2])]
                raise DataError(f"image {one[0]} is in {' and '.join(places)}; remove one")
        self.images = [SourceImage(*row) for row in found]

    @property
    def files(self) -> Iterator[Path]:
        """Return the shards and their indices."""
        for path in {path for path, _, _ in self.rows}:
            yield from (path, path.with_suffix(".lineidx"))

    def load(self, image: SourceImage) -> Picture:
        """Read the masks of an image."""
        path, row, start = self.rows[image.index]
        _, text = _columns(path, row, start)
        record = _named(_json(text, path, row), image)
        picture, _, bad = read_record(record, _where(path, row), self.settings)
        self._left_out.record(image.id, bad)
        return picture

    def left_out(self, image: SourceImage) -> list[LeftOut]:
        """Return the annotations of an image that were left out."""
        return self._left_out.of(image.id)

    def content(self, image: SourceImage) -> int:
        """Return a checksum of the masks in the row of an image."""
        return zlib.crc32(_columns(*self.rows[image.index])[1])


def _named(record: Any, image: SourceImage) -> Any:
    """Add the file name from the row to an image entry that has none."""
    if isinstance(record, dict) and isinstance(record.get("image"), dict):
        return {**record, "image": {"file_name": image.file_name, **record["image"]}}
    return record


def _where(path: Path, row: int) -> str:
    return f"{path}, row {row}"


def _starts(path: Path) -> Iterator[tuple[int, int]]:
    """Yield number and first byte of every row."""
    index = path.with_suffix(".lineidx")
    if not index.exists():
        yield from _scan(path)
        return
    size = path.stat().st_size
    for row, line in enumerate(index.read_bytes().splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        if not fields[0].isdigit() or int(fields[0]) >= size:
            raise MaskFileError(
                f"{index}, line {row}: {line[:40].decode(errors='replace')!r} is not the "
                f"start of a row of {path.name}; remove the index to search for rows "
                "instead"
            )
        yield row, int(fields[0])


def _scan(path: Path) -> Iterator[tuple[int, int]]:
    row = position = 0
    begins = True
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            at = 0
            while at < len(chunk):
                if begins:
                    row += 1
                    yield row, position + at
                end = chunk.find(b"\n", at)
                begins = end >= 0
                at = end + 1 if begins else len(chunk)
            position += len(chunk)


def _columns(path: Path, row: int, start: int) -> tuple[str, bytes]:
    """Read the first two columns of a row: its name, and its JSON."""
    source = FileSource(path)
    text = b""
    size = _CHUNK
    while text.count(b"\t") < 2 and b"\n" not in text[-size:]:
        more = source.read_at(start + len(text), size)
        if not more:
            break
        text += more
    columns = text.partition(b"\n")[0].split(b"\t", 2)
    if len(columns) < 3:
        if told := mistaken(source.read_at(0, HEAD), "table"):
            raise MaskFileError(f"{path}: {told}")
        raise MaskFileError(
            f"{_where(path, row)}: {counted(len(columns), 'column')} instead of name, JSON and "
            "image; fix or remove the row"
        )
    return columns[0].decode(errors="replace"), columns[1]


def _identity(path: Path, row: int, start: int) -> tuple[int, str]:
    """Return id and name of a row's image, usually from the first bytes of the row."""
    head = FileSource(path).read_at(start, _HEAD)
    found = _IMAGE.search(head)
    if found and b"\t" in head[: found.start()]:
        name, entry = head.partition(b"\t")[0].decode(errors="replace"), _json(found[1], path, row)
    else:
        name, text = _columns(path, row, start)
        record = _json(text, path, row)
        entry = record.get("image") if isinstance(record, dict) else None
    image_id = entry.get("id", entry.get("image_id")) if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(image_id, int):
        raise MaskFileError(f"{_where(path, row)}: has no image id; fix or remove the row")
    return image_id, str(entry.get("file_name") or PurePosixPath(name).name)


def _json(text: bytes, path: Path, row: int) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise MaskFileError(f"{_where(path, row)}: not JSON: {error}; remove the row") from error


def open_tsv(name: str, path: Path, settings: ReadSettings) -> Tsv:
    """Open a training shard, or a folder of them."""
    return Tsv(path, settings)
