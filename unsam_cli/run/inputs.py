"""The images of a command and their ids."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from unsam_cli.errors import DataError, ImageFileError, MissingInputError, UnsamError, UsageError
from unsam_cli.io.files import chunks, files_below, refuse_special, unreadable, what_it_is
from unsam_cli.io.kinds import HEAD, mistaken
from unsam_cli.io.scratch import keep, pieces, scratch
from unsam_cli.run.items import ImageItem
from unsam_cli.run.settings import RunSettings
from unsam_cli.run.shards import WHOLE, parts_of

Pairs = Iterable[tuple[str | None, str]]
STDIN = "-"
STDIN_NAME = "standard input"


@dataclass(frozen=True)
class ImageQuery:
    """The user's options for images; :func:`list_images` finds the images.

    Parameters
    ----------
    arguments : tuple of str
        Files, folders, ``@list.txt``, or ``-`` for a list on standard input.
    null : bool
        Whether names in lists end with NUL instead of a newline.
    coco : Path, optional
        COCO file that gives the images and their ids.
    image_root : Path, optional
        Folder that the file names in `coco` are relative to.
    """

    arguments: tuple[str, ...] = ()
    null: bool = False
    coco: Path | None = None
    image_root: Path | None = None


def images_of(query: ImageQuery, run: RunSettings) -> tuple[list[ImageItem], RunSettings]:
    """Return the images of a run, see :func:`list_images`, and the run with them as its inputs.

    If the COCO file that names the images is a shard of an earlier run, so is this run.
    """
    items = list_images(query, keep_missing=run.on_error == "skip")
    parts = WHOLE
    if query.coco is not None:
        from unsam_cli.io.masks_lines import marks_of

        parts = parts_of(marks_of(query.coco), query.coco)
    return items, run.within(parts).reading(lambda: (item.place for item in items))


def list_images(query: ImageQuery, *, keep_missing: bool = False) -> list[ImageItem]:
    """Return all images in the order of their ids.

    Ids are those of the COCO file, or else 1..N over the complete list sorted bytewise by path.

    Parameters
    ----------
    query : ImageQuery
        The user's options.
    keep_missing : bool
        Also return images that a list names but that do not exist; they fail when they are read.

    Returns
    -------
    list of ImageItem
        The images.

    Raises
    ------
    UsageError
        No input is named, or two images would be stored under one name.
    MissingInputError
        A path does not exist, or there is no image.
    """
    if query.coco is not None:
        if query.arguments:
            raise UsageError("give either IMAGES or --coco, not both")
        return images_of_coco(query.coco, query.image_root, keep_missing=keep_missing)
    if not query.arguments:
        raise UsageError("no images: give files, folders, @list.txt, - or --coco FILE")
    faults: dict[str, str] | None = {} if keep_missing else None
    found = _named(_expand(query, keep_missing), faults)
    if not found:
        names = " ".join(query.arguments)
        raise MissingInputError(f"{names}: no images found; folders are searched by file suffix")
    fault, pairs = (faults or {}).get, sorted(found.items(), key=lambda p: os.fsencode(p[1]))
    return [ImageItem(i, n, place, fault(n, "")) for i, (n, place) in enumerate(pairs, start=1)]


def images_of_coco(coco: Path, root: Path | None, *, keep_missing: bool = False) -> list[ImageItem]:
    """Return the images that a COCO file lists, by ascending id, found below `root`.

    Raises
    ------
    DataError
        The file lists no images, or the name of one leads out of the folder.
    MissingInputError
        An image does not exist, and `keep_missing` is not set.
    """
    from unsam_cli.io.masks import read_masks
    from unsam_cli.io.masks_table import ONLY_IMAGES
    from unsam_cli.io.names import Pictures, canonical

    images = read_masks(coco, form=ONLY_IMAGES).images
    if not images:
        raise DataError(f"{coco}: lists no images; give a full COCO file, or the images themselves")
    folder = coco.parent if root is None else root
    pictures = Pictures(folder, (image.file_name for image in images.values()))
    items = []
    for i, image in sorted(images.items()):
        try:
            path = pictures.find(image.file_name)
        except MissingInputError:
            if not keep_missing:
                raise
            path = folder / canonical(image.file_name)
        items.append(ImageItem(i, image.file_name, str(path)))
    return items


def _expand(query: ImageQuery, keep_missing: bool) -> Pairs:
    """Yield (name relative to a given folder, or None; path) of the images of each argument."""
    for argument in query.arguments:
        if argument == STDIN:
            for name in _split(sys.stdin.buffer.read(), query.null):
                yield from _expand_path(name, keep_missing)
        elif argument.startswith("@"):
            for name in _split(_listed(argument[1:]), query.null):
                yield from _expand_path(name, keep_missing)
        else:
            yield from _expand_path(argument)


def _listed(path: str) -> bytes:
    """Return the content of a list, which may be a pipe."""
    try:
        content = b"".join(chunks(path))
    except MissingInputError as e:
        raise MissingInputError(f"{path}: no such file; @FILE lists images") from e
    if text := mistaken(content[:HEAD], "list"):
        raise DataError(f"{path}: {text}; @FILE lists images")
    return content


def _split(data: bytes, null: bool) -> list[str]:
    names = data.split(b"\0") if null else data.removeprefix(b"\xef\xbb\xbf").splitlines()
    return [os.fsdecode(name) for name in names if name.strip()]


def _expand_path(name: str, keep_missing: bool = False) -> Iterator[tuple[str | None, str]]:
    path = Path(name)
    if path.is_dir():
        yield from _walk(str(path))
        return
    if not keep_missing:
        refuse_special(path, ImageFileError)
    if keep_missing or path.exists():
        yield None, str(path)
    else:
        raise MissingInputError(f"{name}: no such file or folder")


def _walk(root: str) -> Iterator[tuple[str, str]]:
    """Yield the images below `root`; hidden files and folders are left out."""
    from unsam_cli.io.suffixes import IMAGE_SUFFIXES

    before = "" if root == "." else os.path.join(root, "")
    for name in files_below(root, tuple(IMAGE_SUFFIXES)):
        yield name, before + name


def _named(found: Pairs, faults: dict[str, str] | None) -> dict[str, str]:
    """Return stored name -> path; an image given twice counts once.

    Names that cannot be stored are an error, or are put into `faults` in a printable form.
    """
    pairs = list(found)
    outside = [p for name, p in pairs if name is None and _leaves_working_folder(p)]
    common = os.path.commonpath(os.path.dirname(_absolute(p)) for p in outside) if outside else ""
    named: dict[str, str] = {}
    for name, path in pairs:
        stored = path if name is None else name
        if name is None and _leaves_working_folder(path):
            stored = _absolute(path).removeprefix(os.path.join(common, ""))
        try:
            stored.encode()
        except UnicodeEncodeError as e:
            fault = DataError(f"{path!r}: the file name is not UTF-8; rename the file")
            if faults is None:
                raise fault from e
            stored = os.fsencode(stored).decode(errors="backslashreplace")
            faults[stored] = str(fault)
        other = named.setdefault(stored, path)
        if other != path and _absolute(other) != _absolute(path):
            raise UsageError(
                f"{other} and {path} would both be stored as {stored}; give a common parent folder"
            )
    return named


def _absolute(path: str) -> str:
    """Make a path absolute and remove ``..``, which stored names must not contain."""
    return os.path.abspath(path)


def _leaves_working_folder(path: str) -> bool:
    return os.path.isabs(path) or ".." in path.split("/")


def name_of(argument: str) -> str:
    """Return the name of a file argument in messages."""
    return STDIN_NAME if argument == STDIN else argument


@contextmanager
def local_file(argument: str) -> Iterator[Path]:
    """Provide a file argument as a seekable file; standard input (``-``) is copied to one.

    Raises
    ------
    MissingInputError
        The file does not exist, or standard input is empty.
    DataError
        Standard input cannot be read.
    """
    if argument != STDIN:
        try:
            kind = what_it_is(argument)
        except (OSError, ValueError) as e:
            raise unreadable(argument, e) from None
        if kind in (None, "folder"):
            yield Path(argument)
            return
        source = chunks(argument)
    elif sys.stdin.isatty():
        raise MissingInputError("standard input is a terminal; give a file, or pipe one in")
    else:
        source = pieces(sys.stdin.buffer)
    name = name_of(argument)
    with scratch(name):
        spool = tempfile.NamedTemporaryFile(prefix="unsam-stdin-")  # noqa: SIM115 - closed below
    with spool:
        try:
            arrived = keep(source, spool, name)
        except OSError as e:
            if isinstance(e, UnsamError):
                raise
            raise DataError(f"{name}: cannot be read ({e.strerror}); pipe a file in") from e
        if not arrived:
            raise MissingInputError(f"{name} is empty; see the messages of the previous command")
        yield Path(spool.name)
