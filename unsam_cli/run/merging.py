"""Joining the shards of one run into the file that one run would have written."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from unsam_cli.errors import DataError, MissingInputError
from unsam_cli.io.features import FeatureFile, ImageEntry, RegionEntry
from unsam_cli.io.features_writer import FeatureTotals, write_features
from unsam_cli.io.masks_lines import Group, MaskLines
from unsam_cli.io.masks_writer import write_masks
from unsam_cli.run.journal import first_difference
from unsam_cli.run.output import check_output, publish
from unsam_cli.run.resources import allow_files
from unsam_cli.run.shards import Parts, parts_of

logger = logging.getLogger(__name__)

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def merge(
    files: Sequence[Path], *, output: str, no_clobber: bool = False, partial: bool = False
) -> None:
    """Join shards, all features or all masks, in any order.

    Parameters
    ----------
    files : sequence of Path
        The shards.
    output : str
        Where to write; ``-`` is standard output.
    no_clobber : bool
        Refuse to replace an existing output.
    partial : bool
        Join what there is. The output is marked as the parts that it holds, and can be merged with
        the rest later.

    Raises
    ------
    MissingInputError
        A file does not exist.
    DataError
        Shards of different runs, a shard that is missing or given twice, or one image in two
        files; it is named.
    """
    allow_files(2 * len(files))  # a masks file is read in two places at once
    kinds = {_is_hdf5(file) for file in files}
    if len(kinds) > 1:
        raise DataError("features (HDF5) and masks (JSON) cannot be merged into one file")
    binary = kinds.pop()
    check_output(output, binary=binary, no_clobber=no_clobber)
    (_merge_features if binary else _merge_masks)(files, output, partial)


def _is_hdf5(file: Path) -> bool:
    if not file.exists():
        raise MissingInputError(f"{file}: no such file; is a shard missing?")
    with file.open("rb") as stream:
        return stream.read(8) == _HDF5_SIGNATURE


def _refuse_other_run(
    first: Path, history: list[dict[str, Any]], file: Path, other: list[dict[str, Any]]
) -> None:
    difference = first_difference({"history": history}, {"history": other})
    if difference is not None:
        key, mine, theirs = difference
        raise DataError(
            f"{first} and {file} are not shards of one run: {key} is {mine!r} and {theirs!r}"
        )


def _united(shards: Sequence[tuple[Path, Parts]], *, partial: bool) -> Parts:
    """Return the parts that shards hold together; those without a mark are taken as they are."""
    first, parts = shards[0]
    for path, other in shards[1:]:
        if other.count != parts.count:
            raise DataError(
                f"{first} is {_kind(parts)} and {path} is {_kind(other)}; merge the shards of one "
                "run"
            )
    if parts.count == 1:
        return parts
    held: dict[int, Path] = {}
    for path, other in shards:
        for k in sorted(other.indices):
            if k in held:
                raise DataError(
                    f"{held[k]} and {path} both hold shard {k} of {parts.count}; merge each once"
                )
            held[k] = path
    united = Parts(frozenset(held), parts.count)
    if united.missing:
        text = f"shard {_some(united.missing, ', ')} of {parts.count} is missing"
        if not partial:
            raise DataError(f"{text}; merge all shards, or give --partial to join what there is")
        held_parts = f"{_some(sorted(held), ',')}/{parts.count}"
        logger.warning("%s; the output is marked as %s", text, held_parts)
    return united


def _some(numbers: Sequence[int], between: str) -> str:
    """List the first numbers: there may be thousands."""
    more = ["..."] if len(numbers) > 8 else []
    return between.join([*map(str, numbers[:8]), *more])


def _kind(parts: Parts) -> str:
    return f"a shard of {parts.count}" if parts.count > 1 else "no shard"


def _merge_masks(files: Sequence[Path], output: str, partial: bool) -> None:
    shards = [MaskLines(file) for file in files]
    for shard in shards[1:]:
        _refuse_other_run(shards[0].path, shards[0].history, shard.path, shard.history)
    parts = _united([(s.path, parts_of(s.shard, s.path)) for s in shards], partial=partial)
    _refuse_doubles([(s.path, [image["id"] for image in s.images()]) for s in shards])

    def groups() -> Iterator[Group]:
        return heapq.merge(*(s.groups() for s in shards), key=lambda group: group[0]["id"])

    def write(path: Path) -> None:
        images = heapq.merge(*(s.images() for s in shards), key=lambda image: image["id"])
        annotations = (group for _, group in groups())
        with path.open("wb") as stream:
            write_masks(
                stream,
                "coco",
                history=shards[0].history,
                shard=parts.mark,
                images=images,
                groups=annotations,
            )

    publish(output, write)


def _refuse_doubles(shards: Sequence[tuple[Path, list[int]]]) -> None:
    seen: dict[int, Path] = {}
    for path, ids in shards:
        for image_id in ids:
            other = seen.setdefault(image_id, path)
            if other is not path:
                raise DataError(
                    f"image {image_id} is in both {other} and {path}; merge each shard once"
                )


def _merge_features(files: Sequence[Path], output: str, partial: bool) -> None:
    with ExitStack() as stack:
        shards = [stack.enter_context(FeatureFile(file)) for file in files]
        first = shards[0]
        for shard in shards[1:]:
            _refuse_other_run(
                first.path, first.attributes.history, shard.path, shard.attributes.history
            )
        parts = _united(
            [(s.path, parts_of(s.attributes.shard, s.path)) for s in shards], partial=partial
        )
        attributes = replace(first.attributes, shard=parts.mark)
        _refuse_doubles([(s.path, s.ids.tolist()) for s in shards])
        places = sorted((int(i), s, k) for s, f in enumerate(shards) for k, i in enumerate(f.ids))
        order = [(shards[s], k) for _, s, k in places]

        def described() -> Iterator[tuple[ImageEntry, list[RegionEntry]]]:
            return ((file.image(k), file.regions(k)) for file, k in order)

        def chunks() -> Iterator[bytes]:
            kind = first.dtype.newbyteorder("<")
            for file, k in order:
                yield b"".join(np.asarray(r, dtype=kind).tobytes() for r in file.image_rows(k))

        totals = FeatureTotals(
            images=len(order),
            regions=sum(f.region_count for f in shards),
            patches=sum(f.patch_count for f in shards),
            dim=first.attributes.dim,
            dtype=first.dtype.name,
        )
        publish(
            output, lambda path: write_features(path, attributes, totals, described(), chunks())
        )
