"""Pair ground truth and predictions image by image, and refuse misleading combinations."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from unsam_cli.errors import DataError, counted
from unsam_cli.evaluation.settings import Match
from unsam_cli.io.masks import MasksFile
from unsam_cli.io.names import base_name, canonical, told_apart

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
    _refuse_without_masks(truth, truth_name)
    by_name = match == "file-name"
    theirs = _ids_by_name(truth, truth_name, masks, name) if by_name else _ids_by_id(truth, masks)
    if not theirs:
        raise DataError(_nothing_in_common(truth, truth_name, masks, name, match))
    _refuse_other_sizes(truth, truth_name, masks, name, theirs)
    if not by_name:
        _refuse_other_names(truth, truth_name, masks, name, theirs)
    _warn_of_the_rest(truth, masks, name, theirs)
    return Predictions(name, masks, theirs)


def _refuse_without_masks(truth: MasksFile, name: str) -> None:
    if any(truth.counts(crowds=False).values()):
        return
    left_out = len(truth.left_out.every)
    only = f"{counted(left_out, 'annotation')} without a mask" if left_out else ""
    if truth.crowds:
        crowds = counted(truth.crowds, "crowd region")
        only = f"{crowds} (iscrowd is 1); --crowds masks counts them as masks"
    raise DataError(
        f"{name}: has no masks that count{', only ' if only else ''}{only}; give a ground truth "
        "with masks"
    )


def _ids_by_id(truth: MasksFile, masks: MasksFile) -> dict[int, int]:
    """Match ids; if any is text, as they are in the files."""
    if not truth.text_ids and not masks.text_ids:
        return {i: i for i in masks.image_ids if i in truth.images}
    theirs = {masks.text_ids.get(i, str(i)): i for i in masks.image_ids}
    texts = {i: truth.text_ids.get(i, str(i)) for i in sorted(truth.images)}
    return {i: theirs[text] for i, text in texts.items() if text in theirs}


def _ids_by_name(truth: MasksFile, truth_name: str, masks: MasksFile, name: str) -> dict[int, int]:
    """Match by names as they stand, else in their usual spelling, else by their last parts.

    A bare list of results may name images without their suffix.
    """
    if not masks.names:
        raise DataError(
            f"{name}: lists no images, so file names cannot be matched; give a full COCO file"
        )
    doubles: list[DataError] = []
    for key in (str, canonical, base_name, *(() if masks.images else (_stem,))):
        try:
            ours = _unique_names(truth.names, truth_name, key)
            other = _unique_names(masks.names, name, key)
        except DataError as error:
            doubles.append(error)
            continue
        if common := {ours[n]: other[n] for n in ours.keys() & other.keys()}:
            return dict(sorted(common.items()))
    if doubles:
        raise doubles[0]
    return {}


def _stem(file_name: str) -> str:
    """Return the last part of a name without suffix, and numbers without leading zeros."""
    stem = PurePosixPath(base_name(file_name)).stem
    return str(int(stem)) if stem.isdecimal() else stem


def _unique_names(names: Mapping[int, str], file: str, key: Callable[[str], str]) -> dict[str, int]:
    ids: dict[str, int] = {}
    for image_id, file_name in names.items():
        name = key(file_name)
        other = ids.setdefault(name, image_id)
        if other != image_id:
            raise DataError(
                f"{file}: images {other} and {image_id} are both called {name}; use --match id"
            )
    return ids


def _nothing_in_common(
    truth: MasksFile, truth_name: str, masks: MasksFile, name: str, match: Match
) -> str:
    if match == "file-name":
        ours, theirs = next(iter(truth.names.values())), next(iter(masks.names.values()))
        one, other = told_apart(theirs, ours)
        return (
            f"{name}: has no file name in common with {truth_name} (for example {one} and "
            f"{other}); are these predictions for other images?"
        )
    if not masks.image_ids:
        return f"{name}: has neither images nor masks; give a file of predictions"
    theirs_id, ours_id = (
        file.text_ids.get(first, str(first))
        for file, first in ((masks, masks.image_ids[0]), (truth, min(truth.images)))
    )
    hint = (
        "use --match file-name if the names agree"
        if masks.names
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
    known = {base_name(image.file_name): image.id for image in truth.images.values()}
    renamed = 0
    for ours, theirs in ids.items():
        if theirs not in masks.images:
            continue
        here = base_name(truth.images[ours].file_name)
        there = base_name(masks.images[theirs].file_name)
        renamed += here != there
        if here != there and known.get(there, ours) != ours:
            raise DataError(
                f"{name}: image {theirs} is {there}, which is image {known[there]} in "
                f"{truth_name}; the ids differ: use --match file-name"
            )
    if renamed:
        logger.warning(
            "%s: different file names for %d of %d images in %s under the same id; are they the "
            "same images?",
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
            "%s: ignored %s in %s that the ground truth does not list",
            name,
            counted(strange.total(), "prediction"),
            counted(len(strange), "image"),
        )
