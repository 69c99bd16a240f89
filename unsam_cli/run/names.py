"""File names in a folder output: one unique name per image."""

from __future__ import annotations

import logging
import posixpath
import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import PurePath

from unsam_cli.errors import DataError
from unsam_cli.run.items import Item

logger = logging.getLogger(__name__)

_MOST_TOLD = 10
_DRIVE = re.compile(r"^[A-Za-z]:(?=/)")


def unique_names(items: Iterable[Item], suffix: str) -> dict[int, PurePath]:
    """Choose a file name for each image, and log the images whose usual name is taken.

    ``a/b.jpg`` becomes ``a/b.png``. If another image has this name, it becomes ``a/b.jpg.png``, or
    else ``a/b.jpg.ID.png``. Names that differ only in case or in the encoding of accents count as
    equal, since they are on some file systems.

    Parameters
    ----------
    items : iterable of Item
        All images of the run, in the order of their ids. Names depend on all of them, so that
        shards and resumed runs use the same names.
    suffix : str
        Suffix of the files, with its dot.

    Returns
    -------
    dict of PurePath
        File names by image id, relative to the folder.

    Raises
    ------
    DataError
        The name of an image is not a name.
    """
    pairs = [(item, name_below(item.file_name)) for item in items]
    taken = {_key(folder) for _, name in pairs for folder in name.parents}
    names: dict[int, PurePath] = {}
    moved = []
    for item, name in pairs:
        candidates = _candidates(name, item.id, suffix)
        usual = next(candidates)
        chosen = usual
        while _key(chosen) in taken:
            chosen = next(candidates)
        taken.add(_key(chosen))
        names[item.id] = chosen
        if chosen != usual:
            moved.append(f"image {item.id}, {name}, becomes {chosen}")
    _tell(moved)
    return names


def name_below(file_name: str) -> PurePath:
    """Return the name of an image as a path below a folder.

    Roots, drives and ``..`` of other machines are left out, and their backslashes are slashes.

    Raises
    ------
    DataError
        It is not a name.
    """
    text = _DRIVE.sub("", file_name.replace("\\", "/"))
    parts = [part for part in posixpath.normpath(text).split("/") if part not in ("", ".", "..")]
    if not parts or "\0" in file_name:
        raise DataError(f"file_name {file_name!r:.200} is not a name; fix it in the source")
    return PurePath(*parts)


def _candidates(name: PurePath, image_id: int, suffix: str) -> Iterator[PurePath]:
    yield name.with_suffix(suffix)
    yield PurePath(f"{name}{suffix}")
    yield PurePath(f"{name}.{image_id}{suffix}")
    yield from (PurePath(f"{name}.{image_id}-{k}{suffix}") for k in count(2))


def _key(name: PurePath) -> str:
    """Return a key that is equal for names that some file systems treat as equal."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", str(name)).casefold())


def _tell(moved: list[str]) -> None:
    """Log which images have unusual names: the first by default, all with ``-v``."""
    for text in moved[:_MOST_TOLD]:
        logger.warning("%s: another image has its usual name", text)
    for text in moved[_MOST_TOLD:]:
        logger.info("%s: another image has its usual name", text)
    if len(moved) > _MOST_TOLD:
        logger.warning("and %d more; -v lists all", len(moved) - _MOST_TOLD)
