"""Outputs other than one JSON file: folders with one file per image, and training shards."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path, PurePath
from typing import Any

from unsam_cli.errors import DataError, OutputError, UsageError
from unsam_cli.run.items import Item
from unsam_cli.run.names import unique_names
from unsam_cli.run.output import check_output, publish
from unsam_cli.run.replacing import refuse_pictures
from unsam_cli.run.settings import RunSettings
from unsam_cli.run.sinks import JournalSink

_YOLO = b"""# Put the images, or a link to them, into the folder images beside labels.
path: .
train: images
val: images
names:
  0: entity
"""
EXTRA_FILES = {"yolo": {"data.yaml": _YOLO}}
PLACES = {"sa1b": ("", ".json"), "labelmap": ("", ".png"), "yolo": ("labels", ".txt")}
"""Subfolder and suffix of the files of each format."""


class FolderSink(JournalSink):
    """One file per image, each written completely or not at all.

    Parameters
    ----------
    settings : RunSettings
        The settings of the run. The output is a folder, which is created if it does not exist.
    history : list of dict
        The steps that made the input.
    kind : {'sa1b', 'labelmap', 'yolo'}
        Format of the files, which determines their subfolder and suffix.
    items : iterable of Item
        All images, which the names of the files come from.

    Raises
    ------
    UsageError
        The output is standard output, or a folder with files while `no_clobber` is set; or an input
        or a photograph would be replaced.
    DataError
        The name of an image leads out of the folder.
    OutputError
        The output is a file.
    """

    def __init__(
        self, settings: RunSettings, history: list[dict[str, Any]], kind: str, items: Iterable[Item]
    ) -> None:
        if settings.output == "-":
            raise UsageError(f"{kind} is a folder of files; give -o DIR")
        folder = Path(os.path.abspath(settings.output))  # "." has no name to derive others from
        if not folder.name:
            raise UsageError(f"{folder}: the root cannot be the output; give another folder")
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{folder}: is a file; give the name of a folder")
        if settings.no_clobber and folder.is_dir() and any(folder.iterdir()):
            raise UsageError(f"{folder}: is not empty, and --no-clobber was given")
        items = list(items)
        if kind == "yolo":
            _refuse_one_stem(items)
        self.kind = kind
        inside, suffix = PLACES[kind]
        self.names = {i: PurePath(inside, name) for i, name in unique_names(items, suffix).items()}
        # Shards may fill one folder at the same time, each with its own journal.
        part = settings.shard
        name = f"{folder.name}.{part.index}-{part.count}" if part.count > 1 else folder.name
        names = [*self.names.values(), *map(PurePath, EXTRA_FILES.get(kind, {}))]
        files = [folder / name for name in names]
        if suffix == ".png":
            refuse_pictures(files)
        super().__init__(settings, history, folder.with_name(name), files)
        self._forget_deleted()

    def _forget_deleted(self) -> None:
        """Recompute images whose files were deleted after an interruption."""
        for image_id, name in self.names.items():
            if image_id in self.journal.entries and not Path(self.output, name).is_file():
                del self.journal.entries[image_id]

    def add(self, item: Item, result: bytes, content: int | None = None) -> None:
        """Write the file of one image."""
        self._write(self.names[item.id], result)
        self.journal.append(item.id, {"file_name": item.file_name, "content": content})

    def finish(self, order: Iterable[int]) -> None:
        """Write the files that belong to the whole folder."""
        for name, data in EXTRA_FILES.get(self.kind, {}).items():
            self._write(PurePath(name), data)
        self.journal.close(discard=True)

    def _write(self, name: PurePath, data: bytes) -> None:
        path = Path(self.output, name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{path.parent}: {error.strerror}; choose another folder") from error
        publish(str(path), lambda place: _save(place, data), follow=False)


def _refuse_one_stem(items: Sequence[Item]) -> None:
    """Refuse images that YOLO would give one file of labels: it replaces the suffix of a name.

    Raises
    ------
    DataError
        Two images differ only in their suffix; the message names them.
    """
    stems: dict[PurePath, str] = {}
    for item in items:
        other = stems.setdefault(PurePath(item.file_name).with_suffix(""), item.file_name)
        if other != item.file_name:
            raise DataError(
                f"{other} and {item.file_name} differ only in their suffix, so that YOLO reads one "
                "file of labels for both; rename one of the images"
            )


def _save(path: Path, data: bytes) -> None:
    path.write_bytes(data)


class TsvSink(JournalSink):
    """A training shard, and the index of its rows next to it.

    Parameters
    ----------
    settings : RunSettings
        The settings of the run. The output is a file whose name ends with ``.tsv``.
    history : list of dict
        The steps that made the input.

    Raises
    ------
    UsageError
        The output is standard output or has another suffix, so the index would have no name.
    """

    def __init__(self, settings: RunSettings, history: list[dict[str, Any]]) -> None:
        target = Path(settings.output)
        if target.suffix != ".tsv":
            raise UsageError("a training shard needs an index file beside it; give -o FILE.tsv")
        self.index = target.with_suffix(".lineidx")
        for path in (settings.output, str(self.index)):
            check_output(path, binary=False, no_clobber=settings.no_clobber)
        super().__init__(settings, history, target, [self.index])

    def add(self, item: Item, result: bytes, content: int | None = None) -> None:
        """Store the row of one image."""
        self.journal.append(item.id, {"file_name": item.file_name, "content": content}, result)

    def finish(self, order: Iterable[int]) -> None:
        """Write the rows of the given images, then their index."""
        ids = list(order)
        lengths: list[int] = []

        def write_rows(path: Path) -> None:
            with path.open("wb") as stream:
                lengths.extend(stream.write(self.journal.read_blob(i)) for i in ids)

        def write_index(path: Path) -> None:
            starts = accumulate(lengths, initial=0)
            lines = (f"{start} {length}\n" for start, length in zip(starts, lengths, strict=False))
            path.write_text("".join(lines), encoding="ascii", newline="\n")

        publish(self.output, write_rows)
        publish(str(self.index), write_index, follow=False)
        self.journal.close(discard=True)
