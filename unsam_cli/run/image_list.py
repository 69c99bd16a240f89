"""Identity of a list of images: distinguishes lists of which only parts are known.

Every shard of a run has the identity of the complete list: the number of images, and sums of hashes
of the images, block by block. Sums of blocks add up to sums of larger blocks, so lists of different
lengths can be compared, and the identities show where two lists first differ. An identity takes
about 1 KB for lists of any length.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from unsam_cli.errors import DataError, counted
from unsam_cli.io.names import canonical, paired, told_apart
from unsam_cli.run.items import Item

logger = logging.getLogger(__name__)

_MOST_BLOCKS = 64
_MODULUS = 1 << 64


def list_identity(items: Sequence[Item]) -> str:
    """Identify a list of images by their ids and names in this order.

    Returns
    -------
    str
        ``COUNT:SUM,SUM...``, where each sum has 16 hex digits.
    """
    size = _block_size(len(items))
    sums = [0] * -(-len(items) // size)
    for place, item in enumerate(items):
        text = f"{item.id}\t{item.file_name}".encode(errors="surrogateescape")
        digest = hashlib.blake2b(text, digest_size=8).digest()
        sums[place // size] += int.from_bytes(digest)
    return f"{len(items)}:{','.join(f'{value % _MODULUS:016x}' for value in sums)}"


def is_list_identity(text: object) -> bool:
    """Whether `text` has the form that :func:`list_identity` writes."""
    if not isinstance(text, str) or not re.fullmatch(r"\d{1,12}:([0-9a-f]{16}(,|$))*", text):
        return False
    count, sums = _parsed(text)
    return len(sums) == -(-count // _block_size(count))


def count_of(identity: str) -> int:
    """Return the number of images of a list."""
    return _parsed(identity)[0]


def where_lists_differ(one: str, other: str) -> tuple[int, int]:
    """Return the first place where two lists differ, by their identities.

    Returns
    -------
    (start, stop) : int
        The first place, from 0, where they differ is at least `start` and less than `stop`.
    """
    (length, mine), (other_length, theirs) = _parsed(one), _parsed(other)
    size = _block_size(max(length, other_length))
    mine, theirs = _in_blocks(mine, length, size), _in_blocks(theirs, other_length, size)
    longest = max(len(mine), len(theirs))
    mine += [0] * (longest - len(mine))
    theirs += [0] * (longest - len(theirs))
    block = next((k for k in range(longest) if mine[k] != theirs[k]), 0)
    return block * size, min((block + 1) * size, max(length, other_length))


def _block_size(count: int) -> int:
    """Return the smallest power of two that gives few enough blocks."""
    size = 1
    while size * _MOST_BLOCKS < count:
        size *= 2
    return size


def _parsed(identity: str) -> tuple[int, list[int]]:
    count, _, sums = identity.partition(":")
    return int(count), [int(value, 16) for value in sums.split(",") if value]


def _in_blocks(sums: list[int], count: int, size: int) -> list[int]:
    """Add up neighbours until the blocks have `size` images."""
    step = size // _block_size(count)
    return [sum(sums[k : k + step]) % _MODULUS for k in range(0, len(sums), step)]


def _names_of(item: Item) -> set[str]:
    name = PurePosixPath(canonical(item.file_name))
    return {str(name), str(name.with_suffix("")), name.stem} if name.name else {str(name)}


def same_images(mine: Sequence[Item], theirs: dict[int, str], file: str) -> None:
    """Raise a DataError if images with the same id in both lists have different names.

    A file of results may have names without a suffix, as Ultralytics writes them. Names that differ
    in their folders belong together if no other image has the same base name.
    """
    called: dict[str, str] | None = None
    for item in mine:
        other = theirs.get(item.id)
        if other is None or canonical(other) in _names_of(item):
            continue
        called = called or paired([one.file_name for one in mine], theirs.values())
        if called.get(item.file_name) != other:
            there, here = told_apart(other, item.file_name)
            raise DataError(
                f"{file}: image {item.id} is {there} there and {here} here; "
                "give both commands the same list of images"
            )


def tell_others(mine: Sequence[Item], counts: Mapping[int, int], file: str) -> None:
    """Warn of masks whose images are not given.

    Parameters
    ----------
    mine : sequence of Item
        The images.
    counts : dict of int
        Number of masks by image id.
    file : str
        Name of the file of masks.

    Raises
    ------
    DataError
        All masks are of other images.
    """
    known = {item.id for item in mine}
    others = {i: count for i, count in counts.items() if i not in known}
    if not others or not known:
        return
    if len(others) == len(counts):
        raise DataError(
            f"{file}: has no mask of the images, whose ids begin with {min(known)}, but of image "
            f"{min(others)}; give both commands the same list of images"
        )
    logger.warning(
        "%s: left out %s of images that are not given, such as image %d",
        *(file, counted(sum(others.values()), "mask"), min(others)),
    )
