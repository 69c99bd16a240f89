"""Join the shards of a run into the file that the complete run would have written."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from unsam_cli.errors import DataError, MissingInputError
from unsam_cli.io.features import FeatureFile, ImageEntry, RegionEntry
from unsam_cli.io.features_writer import FeatureTotals, write_features
from unsam_cli.io.files import open_regular
from unsam_cli.io.kinds import HEAD, mistaken
from unsam_cli.io.masks_lines import KEPT_IDS, Group, MaskLines
from unsam_cli.io.masks_writer import write_masks
from unsam_cli.run.one_run import ShardFile, united
from unsam_cli.run.output import check_output, publish
from unsam_cli.run.resources import allow_files
from unsam_cli.run.shards import parts_of

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
        Path of the output; ``-`` is standard output.
    no_clobber : bool
        Refuse to replace an existing output.
    partial : bool
        Join shards although some are missing. The output is marked with the parts that it holds,
        and can be merged with the rest later.

    Raises
    ------
    MissingInputError
        A file does not exist.
    DataError
        The shards belong to different runs or lists of images, a shard is missing or given twice,
        or two files have the same image. The message names it.
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
    with open_regular(file) as stream:
        head = stream.read(HEAD)
    if text := mistaken(head, "shard"):
        raise DataError(f"{file}: {text}")
    return head.startswith(_HDF5_SIGNATURE)


def _merge_masks(files: Sequence[Path], output: str, partial: bool) -> None:
    shards = [MaskLines(file) for file in files]
    parts = united([_masks_shard(shard) for shard in shards], partial=partial)
    own = {key: value for key, value in shards[0].marks.items() if key == KEPT_IDS}

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
                marks={**parts.marks, **own},
                images=images,
                groups=annotations,
            )

    publish(output, write)


def _masks_shard(lines: MaskLines) -> ShardFile:
    def images() -> Iterator[tuple[int, str]]:
        return ((image["id"], image["file_name"]) for image in lines.images())

    return ShardFile(lines.path, lines.history, parts_of(lines.marks, lines.path), images)


def _features_shard(file: FeatureFile) -> ShardFile:
    def images() -> Iterator[tuple[int, str]]:
        return zip(file.ids.tolist(), file.file_names(), strict=True)

    attributes = file.attributes
    return ShardFile(file.path, attributes.history, parts_of(attributes.marks, file.path), images)


def _merge_features(files: Sequence[Path], output: str, partial: bool) -> None:
    with ExitStack() as stack:
        shards = [stack.enter_context(FeatureFile(file)) for file in files]
        first = shards[0]
        parts = united([_features_shard(shard) for shard in shards], partial=partial)
        attributes = first.attributes.marked(parts.marks)
        places = sorted((int(i), s, k) for s, f in enumerate(shards) for k, i in enumerate(f.ids))
        order = [(shards[s], k) for _, s, k in places]

        def described() -> Iterator[tuple[ImageEntry, list[RegionEntry]]]:
            return ((file.image(k), file.regions(k)) for file, k in order)

        def chunks() -> Iterator[bytes]:
            kind = first.dtype.newbyteorder("<")
            for file, k in order:
                yield from (np.asarray(r, dtype=kind).tobytes() for r in file.image_rows(k))

        totals = FeatureTotals(
            images=len(order),
            regions=sum(f.region_count for f in shards),
            patches=sum(f.patch_count for f in shards),
            dim=first.attributes.dim,
            dtype=first.dtype.name,
            georeferenced=any(any(f.georeferences) for f in shards),
        )
        publish(
            output, lambda path: write_features(path, attributes, totals, described(), chunks())
        )
