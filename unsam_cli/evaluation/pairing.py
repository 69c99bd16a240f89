"""Pair ground truth and predictions image by image, and refuse misleading combinations."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from unsam_cli.errors import DataError
from unsam_cli.evaluation.settings import Match
from unsam_cli.io.masks import ImageInfo, MasksFile

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Predictions:
    """A file of predictions and its relation to the ground truth.

    Attributes
    ----------
    name : str
        Name of the file in messages and tables.
    masks : MasksFile
        The predictions.
    ids : dict
        Image id in this file by image id in the ground truth, for the images in both.
    """

    name: str
    masks: MasksFile
    ids: dict[int, int]


def pair(
    truth: MasksFile, truth_name: str, masks: MasksFile, name: str, *, match: Match = "id"
) -> Predictions:
    """Find the images that predictions have in common with the ground truth.

    Parameters
    ----------
    truth, masks : MasksFile
        The ground truth, and the predictions.
    truth_name, name : str
        Names of the two files in messages.
    match : {'id', 'file-name'}
        How images are matched.

    Returns
    -------
    Predictions
        The predictions with the ids of the images in both files.

    Raises
    ------
    DataError
        The ground truth has no images or no masks, no image is in both files, images differ in
        size, or ids belong to different images.
    """
    if not truth.images:
        raise DataError(
            f"{truth_name}: lists no images; give a full COCO file, because images without "
            "predictions count, too"
        )
    if not len(truth):
        raise DataError(f"{truth_name}: has no masks; give a ground truth with masks")
    by_name = match == "file-name"
    theirs = _ids_by_name(truth, truth_name, masks, name) if by_name else _ids_by_id(truth, masks)
    if not theirs:
        raise DataError(_nothing_in_common(truth, truth_name, masks, name, match))
    _refuse_other_sizes(truth, truth_name, masks, name, theirs)
    if not by_name:
        _refuse_other_names(truth, truth_name, masks, name, theirs)
    _warn_of_the_rest(truth, masks, name, theirs)
    return Predictions(name, masks, theirs)


def _ids_by_id(truth: MasksFile, masks: MasksFile) -> dict[int, int]:
    return {i: i for i in masks.image_ids if i in truth.images}


def _ids_by_name(truth: MasksFile, truth_name: str, masks: MasksFile, name: str) -> dict[int, int]:
    """Match by complete file names, or by their last parts if that finds nothing."""
    if not masks.images:
        raise DataError(
            f"{name}: lists no images, so file names cannot be matched; give a full COCO file"
        )
    for key in (_whole, _last_part):
        ours = _unique_names(truth.images.values(), truth_name, key)
        other = _unique_names(masks.images.values(), name, key)
        common = {ours[n]: other[n] for n in ours.keys() & other.keys()}
        if common:
            return dict(sorted(common.items()))
    return {}


def _whole(file_name: str) -> str:
    return file_name


def _last_part(file_name: str) -> str:
    return PurePosixPath(file_name).name


def _unique_names(
    images: Iterable[ImageInfo], file: str, key: Callable[[str], str]
) -> dict[str, int]:
    names: dict[str, int] = {}
    for image in images:
        name = key(image.file_name)
        other = names.setdefault(name, image.id)
        if other != image.id:
            raise DataError(
                f"{file}: images {other} and {image.id} are both called {name}; use --match id"
            )
    return names


def _nothing_in_common(
    truth: MasksFile, truth_name: str, masks: MasksFile, name: str, match: Match
) -> str:
    if match == "file-name":
        ours, theirs = next(iter(truth.images.values())), next(iter(masks.images.values()))
        return (
            f"{name}: has no file name in common with {truth_name} (for example "
            f"{theirs.file_name} and {ours.file_name}); are these predictions for other "
            "images?"
        )
    if not masks.image_ids:
        return f"{name}: has neither images nor masks; give a file of predictions"
    theirs_id, ours_id = masks.image_ids[0], min(truth.images)
    hint = (
        "use --match file-name if the names agree"
        if masks.images
        else "are these predictions for other images? full COCO files can be matched by --match "
        "file-name"
    )
    return (
        f"{name}: has no image id in common with {truth_name} (the first ids are "
        f"{theirs_id} and {ours_id}); {hint}"
    )


def _refuse_other_sizes(
    truth: MasksFile, truth_name: str, masks: MasksFile, name: str, ids: dict[int, int]
) -> None:
    for ours, theirs in ids.items():
        mine, other = truth.images[ours], masks.images.get(theirs)
        if other and (mine.height, mine.width) != (other.height, other.width):
            raise DataError(
                f"{name}: image {theirs} ({other.file_name}) is {other.width} x "
                f"{other.height} pixels, but {mine.width} x {mine.height} in {truth_name} "
                f"({mine.file_name}); predict at the size of the ground truth, or use "
                "--match file-name if the ids differ"
            )


def _refuse_other_names(
    truth: MasksFile, truth_name: str, masks: MasksFile, name: str, ids: dict[int, int]
) -> None:
    """Refuse ids that belong to other images; only warn about different names."""
    known = {_last_part(image.file_name): image.id for image in truth.images.values()}
    renamed = 0
    for ours, theirs in ids.items():
        if theirs not in masks.images:
            continue
        here = _last_part(truth.images[ours].file_name)
        there = _last_part(masks.images[theirs].file_name)
        renamed += here != there
        if here != there and known.get(there, ours) != ours:
            raise DataError(
                f"{name}: image {theirs} is {there}, which is image {known[there]} in "
                f"{truth_name}; the ids differ: use --match file-name"
            )
    if renamed:
        logger.warning(
            "%s: %d of %d images have a different file name in %s under the same id; are "
            "they the same images?",
            name,
            renamed,
            len(ids),
            truth_name,
        )


def _warn_of_the_rest(truth: MasksFile, masks: MasksFile, name: str, ids: dict[int, int]) -> None:
    counts = masks.counts()
    missed = sum(not counts.get(theirs) for theirs in ids.values()) + len(truth.images) - len(ids)
    shard = masks.info.get("unsam", {}).get("shard")
    if missed:
        logger.warning(
            "%s: has no predictions for %d of %d images; their masks count as missed%s",
            name,
            missed,
            len(truth.images),
            f" (it is shard {shard} of a run: merge them first)" if shard else "",
        )
    used = set(ids.values())
    strange = Counter({i: n for i, n in counts.items() if i not in used})
    if strange:
        logger.warning(
            "%s: ignored %d predictions in %d images that the ground truth does not list",
            name,
            strange.total(),
            len(strange),
        )
