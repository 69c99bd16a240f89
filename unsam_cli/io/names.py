"""One rule for names of pictures, which programs spell differently.

Commands look for pictures with :class:`Pictures`; names of two files are compared as
:func:`canonical` spells them.
"""

from __future__ import annotations

import logging
import os
import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

from unsam_cli.errors import DataError, MissingInputError
from unsam_cli.io.files import files_below
from unsam_cli.io.suffixes import IMAGE_SUFFIXES

logger = logging.getLogger(__name__)

_LONGEST = 4096  # characters, the limit of Linux; longer names would only fill the message
_PLAIN = re.compile(r"[\w-][\w .+()-]*(/[\w-][\w .+()-]*)*", re.ASCII)
_DRIVE = re.compile(r"^[A-Za-z]:(?=/)")
_TOLD = 2  # places that a message names


def _readings(name: str) -> list[str]:
    """Return a name as it stands, and step by step as programs may have meant it.

    Backslashes become slashes; drives, addresses and queries are removed; ``%20`` is decoded, also
    where it was encoded twice.
    """
    found = [name, _DRIVE.sub("", name.replace("\\", "/"))]
    if "://" in found[-1]:
        found.append(found[-1].partition("://")[2].partition("/")[2])
    found.append(posixpath.normpath(found[-1]))
    path, _, query = found[-1].partition("?")
    local = query.startswith("d=")  # Label Studio: /data/local-files/?d=images/a.jpg
    found.append(query.removeprefix("d=").partition("&")[0] if local else path)
    found.append(posixpath.normpath(unquote(found[-1])))
    found.append(posixpath.normpath(unquote(found[-1])))  # some encode twice
    return found


def spellings(name: str) -> list[str]:
    """Return a name as it stands, then its other spellings, with accents of one or two characters.

    Their parts are separated by slashes.
    """
    found = _readings(name)
    found.append(found[-1].replace("+", " "))
    forms = [unicodedata.normalize(form, text) for text in found for form in ("NFC", "NFD")]
    return list(dict.fromkeys([*found, *forms]))


def canonical(name: str) -> str:
    """Return the spelling that is the same for all spellings of a name, without ``..``."""
    if _PLAIN.fullmatch(name) and ".." not in name:
        return name
    return "/".join(_parts(unicodedata.normalize("NFC", _readings(name)[-1])))


def base_name(name: str) -> str:
    """Return the last part of a name in its canonical spelling."""
    return canonical(name).rpartition("/")[2]


def paired(mine: Iterable[str], theirs: Iterable[str]) -> dict[str, str]:
    """Return what names are called in another list, for those that have a counterpart there.

    That is the same name, however it is spelt; else one with the same base name, if no other name
    of either list has it.
    """
    mine, theirs = list(mine), list(theirs)
    spelt = {canonical(name): name for name in theirs}
    own, bases = _by_base_name(mine), _by_base_name(theirs)
    exact = set(theirs)
    found = {name: name if name in exact else spelt.get(canonical(name)) for name in mine}
    for base, names in own.items():
        if len(names) == 1 and len(bases.get(base, ())) == 1 and found[names[0]] is None:
            found[names[0]] = bases[base][0]
    return {name: other for name, other in found.items() if other is not None}


def _by_base_name(names: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(names):
        found[base_name(name)].append(name)
    return found


def told_apart(one: str, other: str) -> tuple[str, str]:
    """Return two names for a message; with their bytes if they look the same."""
    if one == other or _look(one) != _look(other):
        return one, other
    return f"{one} {one.encode()!r}", f"{other} {other.encode()!r}"


def _look(name: str) -> str:
    shown = unicodedata.normalize("NFKC", name)
    return "".join(c for c in shown if c.isprintable()).strip()


def _parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in ("", ".", "..")]


class Pictures:
    """The pictures of a folder, found by the names that a file of masks or features has for them.

    A name is tried as it stands and in its other spellings, relative to the folder; then without
    the folders that lead to it; then by its last parts, if no other name ends so, and by a file of
    this base name in any sub-folder, if there is one only. Nothing outside of the folder is found.

    Parameters
    ----------
    root : Path
        The folder.
    names : iterable of str
        All names that will be looked for: an ending that two of them share says nothing.
    """

    def __init__(self, root: Path, names: Iterable[str] = ()) -> None:
        self.root = root
        groups: dict[str, set[str]] = defaultdict(set)
        for name in filter(None, map(canonical, names)):
            groups[name.rpartition("/")[2]].add(name)
        self._rivals = {base: group for base, group in groups.items() if len(group) > 1}

    def find(self, file_name: str) -> Path:
        """Find a picture.

        Parameters
        ----------
        file_name : str
            Its name as stored.

        Returns
        -------
        Path
            Path of the existing file, below the folder.

        Raises
        ------
        DataError
            It is not a name.
        MissingInputError
            There is no such file, or there are several that may be meant.
        """
        sound = isinstance(file_name, str) and "\0" not in file_name
        if not sound or len(file_name) > _LONGEST or not _parts(canonical(file_name)):
            raise DataError(
                f"file_name {file_name!r:.200} is not the name of a file; fix it in the source"
            )
        tried: dict[Path, None] = {}
        for path, how in self._places(file_name):
            tried[path] = None
            if os.path.isfile(path):  # unlike Path.is_file, false for names that are too long
                if how:
                    logger.debug("%s: found as %s, %s", file_name, path, how)
                return path
        raise MissingInputError(self._missing(file_name, list(tried)))

    def _places(self, file_name: str) -> Iterator[tuple[Path, str]]:
        """Yield where a picture may be, and how its name was read."""
        for text in filter(_stays_inside, spellings(file_name)):
            yield self.root / text, "" if text == file_name else "spelt otherwise"
        rivals = self._rivals.get(base_name(file_name), set()) - {canonical(file_name)}
        spelt = list(dict.fromkeys("/".join(_parts(text)) for text in spellings(file_name)))
        for text in spelt:
            parts = text.split("/")
            for begin, end in self._above(parts):
                if not begin or not _shared(parts[begin:], rivals):
                    yield self.root.joinpath(*parts[end:]), "relative to a folder above"
        for text in spelt:
            parts = text.split("/")
            for k in range(len(parts)):
                if not _shared(parts[k:], rivals):
                    yield self.root.joinpath(*parts[k:]), "by the last parts of its name"
        below = [] if rivals else self._below.get(base_name(file_name), [])
        if len(below) == 1:
            yield self.root / below[0], "by its base name"

    def _above(self, parts: list[str]) -> Iterator[tuple[int, int]]:
        """Yield begin and end of the parts of a name that lead to the folder, the longest first."""
        folders = list(Path(os.path.abspath(self.root)).parts)
        for end in range(len(parts) - 1, 0, -1):
            for begin in range(end):
                if parts[begin:end] == folders[begin - end :]:
                    yield begin, end
                    break

    @cached_property
    def _below(self) -> dict[str, list[str]]:
        """Files in all sub-folders, by base name."""
        found: dict[str, list[str]] = defaultdict(list)
        if self.root.is_dir():
            for name in files_below(self.root, tuple(IMAGE_SUFFIXES)):
                found[unicodedata.normalize("NFC", name.rpartition("/")[2])].append(name)
        return found

    def _missing(self, file_name: str, tried: list[Path]) -> str:
        base = base_name(file_name)
        rivals = sorted(self._rivals.get(base, set()) - {canonical(file_name)})
        if rivals and (self.root / base).is_file():
            return (
                f"{self.root}: has no {file_name}; {base} may be that of {rivals[0]}, too: give "
                "the folder above"
            )
        several = sorted(self._below.get(base, []))
        if len(several) > 1 and not rivals:
            return (
                f"{self.root}: has no {file_name}, but {len(several)} files {base}, such as "
                f"{' and '.join(several[:_TOLD])}; give the right folder"
            )
        places = " and ".join(map(str, tried[: _TOLD + 1]))
        return f"{places}: no such file; give the folder that holds the images"


def _shared(parts: list[str], rivals: set[str]) -> bool:
    """Whether another name ends in the same parts."""
    ending = "/" + "/".join(parts)
    return any(f"/{rival}".endswith(ending) for rival in rivals)


def _stays_inside(name: str) -> bool:
    return not name.startswith("/") and ".." not in name.split("/")
