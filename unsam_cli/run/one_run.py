"""Check that files are the shards of one run, and name what is wrong if they are not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unsam_cli.errors import DataError
from unsam_cli.run.differences import first_difference
from unsam_cli.run.image_list import count_of, where_lists_differ
from unsam_cli.run.shards import Parts

logger = logging.getLogger(__name__)

_AGAIN = "run all shards again with the same list of images"


@dataclass(frozen=True)
class ShardFile:
    """The metadata of a shard.

    Attributes
    ----------
    path : Path
        The file.
    history : list of dict
        The steps that made the file.
    parts : Parts
        The parts of the run that the file holds.
    images : callable
        Yields id and file name of the images, in the order of the file.
    """

    path: Path
    history: list[dict[str, Any]]
    parts: Parts
    images: Callable[[], Iterator[tuple[int, str]]]


def united(shards: Sequence[ShardFile], *, partial: bool) -> Parts:
    """Return the parts that the shards hold together.

    Parameters
    ----------
    shards : sequence of ShardFile
        The shards, in any order.
    partial : bool
        Accept that some shards are missing.

    Raises
    ------
    DataError
        The shards belong to different runs or lists of images, a shard is missing or given twice,
        or two files have the same image.
    """
    _refuse_other_list(shards)
    for shard in shards[1:]:
        _refuse_other_run(shards[0], shard)
    parts = _joined(shards, partial=partial)
    _refuse_doubles(shards)
    return parts


def _refuse_other_list(shards: Sequence[ShardFile]) -> None:
    """Refuse shards of different lists of images; shards without an identity are ignored.

    A shard holds only some images of its list. For the message, an image with different places in
    the two lists is looked for first.
    """
    marked = [shard for shard in shards if shard.parts.image_list]
    other = next((s for s in marked if s.parts.image_list != marked[0].parts.image_list), None)
    if other is None:
        return
    _refuse_renumbered(shards)
    first, lists = marked[0], (marked[0].parts.image_list, other.parts.image_list)
    start, stop = where_lists_differ(*lists)
    counts = " and ".join(str(count_of(text)) for text in lists)
    place = f"image {start + 1}" if stop == start + 1 else f"among images {start + 1} to {stop}"
    shown = "".join(_shown(marked, text, start, stop) for text in lists)
    raise DataError(
        f"{first.path} and {other.path} are shards of different lists of images, of "
        f"{counts}: the lists first differ at {place}{shown}; {_AGAIN}"
    )


def _shown(shards: Sequence[ShardFile], image_list: str, start: int, stop: int) -> str:
    """Name the first image in a range of the list, if a shard holds one."""
    for shard in shards:
        if len(shard.parts.indices) > 1 or shard.parts.image_list != image_list:
            continue
        (index,) = shard.parts.indices
        places = range(index, count_of(image_list), shard.parts.count)
        images = sorted(shard.images())
        inside = next((k for k, place in enumerate(places) if start <= place < stop), None)
        if inside is not None and len(images) == len(places):  # otherwise some were skipped
            return f" ({images[inside][1]} in {shard.path})"
    return ""


def _refuse_other_run(first: ShardFile, other: ShardFile) -> None:
    difference = first_difference({"history": first.history}, {"history": other.history})
    if difference is not None:
        what, mine, theirs = difference
        raise DataError(
            f"{first.path} and {other.path} are not shards of one run: {what} was {mine} "
            f"for the first and {theirs} for the second; run them again with the same "
            "settings and inputs"
        )


def _joined(shards: Sequence[ShardFile], *, partial: bool) -> Parts:
    """Join parts; files without a mark are taken unchanged."""
    first = shards[0]
    for shard in shards[1:]:
        if shard.parts.count != first.parts.count:
            kinds = [_kind(s.parts) for s in (first, shard)]
            raise DataError(
                f"{first.path} is {kinds[0]} and {shard.path} is {kinds[1]}; merge the shards of "
                "one run"
            )
    count = first.parts.count
    if count == 1:
        return first.parts
    held: dict[int, Path] = {}
    for shard in shards:
        for k in sorted(shard.parts.indices):
            if k in held:
                raise DataError(
                    f"{held[k]} and {shard.path} both hold shard {k} of {count}; merge each once"
                )
            held[k] = shard.path
    image_list = next((s.parts.image_list for s in shards if s.parts.image_list), "")
    joined = Parts(frozenset(held), count, image_list)
    if joined.missing:
        text = f"shard {_some(joined.missing, ', ')} of {count} is missing"
        if not partial:
            raise DataError(
                f"{text}; merge all shards, or give --partial to join the shards that exist"
            )
        held_parts = f"{_some(sorted(held), ',')}/{count}"
        logger.warning("%s; the output is marked as %s", text, held_parts)
    return joined


def _some(numbers: Sequence[int], between: str) -> str:
    """List the first numbers, since there may be thousands."""
    more = ["..."] if len(numbers) > 8 else []
    return between.join([*map(str, numbers[:8]), *more])


def _kind(parts: Parts) -> str:
    return f"a shard of {parts.count}" if parts.count > 1 else "no shard"


def _refuse_doubles(shards: Sequence[ShardFile]) -> None:
    """Refuse an image in two files, and a name with two ids."""
    ids = [np.fromiter((i for i, _ in shard.images()), np.int64) for shard in shards]
    owner = np.repeat(np.arange(len(shards)), [len(found) for found in ids])
    together = np.concatenate(ids)
    order = np.argsort(together, kind="stable")
    same = np.flatnonzero(np.diff(together[order]) == 0)
    for k in same[:1]:
        one, other = (shards[owner[order[k + j]]].path for j in range(2))
        raise DataError(
            f"image {together[order[k]]} is in both {one} and {other}; merge each shard once"
        )
    _refuse_renumbered(shards)


def _refuse_renumbered(shards: Sequence[ShardFile]) -> None:
    """Refuse an image that has another id in another file, or twice in one; the first is named."""
    # To save memory only hashes of names are kept; names with equal hashes are compared later.
    hashes = [np.fromiter((hash(n) for _, n in shard.images()), np.int64) for shard in shards]
    suspects = _repeated(np.concatenate(hashes))
    if not suspects:
        return
    seen: dict[str, list[tuple[int, Path]]] = {}
    for shard in shards:
        for image_id, name in shard.images():
            if hash(name) in suspects:
                seen.setdefault(name, []).append((image_id, shard.path))
    found = [(sorted(places), name) for name, places in seen.items() if _ids(places) > 1]
    if found:
        places, name = min(found)
        one = places[0]
        other = next(place for place in places if place[0] != one[0])
        raise DataError(
            f"{name} is image {one[0]} in {one[1]} and image {other[0]} in {other[1]}; "
            f"images were probably added or removed between two shards; {_AGAIN}"
        )


def _repeated(values: npt.NDArray[np.int64]) -> frozenset[int]:
    ordered = np.sort(values)
    return frozenset(ordered[1:][ordered[1:] == ordered[:-1]].tolist())


def _ids(places: Sequence[tuple[int, Path]]) -> int:
    return len({image_id for image_id, _ in places})
