"""Which photographs a figure shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from unsam_cli.errors import DataError, UnsamError, UsageError
from unsam_cli.io.masks import Annotation
from unsam_cli.view.agreement import partners, tables_of
from unsam_cli.view.sets import MaskSets, Photograph
from unsam_cli.view.settings import RANDOM, WORST, FigureSettings

OnError = Callable[[dict[str, Any], UnsamError], None]


def chosen_ids(
    sets: MaskSets, settings: FigureSettings, *, truth: bool, seed: int, on_error: OnError
) -> list[int]:
    """Choose the images of a figure.

    Parameters
    ----------
    sets : MaskSets
        The masks of each row; the last set is the ground truth if `truth` is set.
    settings : FigureSettings
        The ids, or the number of images and how to choose them.
    truth : bool
        Rank images by the mean recall of all files. Otherwise they are ranked by the mean score of
        all masks.
    seed : int
        Seed of a random choice.
    on_error : callable
        Called with the image entry and the error of an image that cannot be ranked.

    Returns
    -------
    list of int
        Ids of images: as given, with the best or the worst first, or ascending if chosen at random.

    Raises
    ------
    UsageError
        The masks have no image with one of the ids.
    DataError
        There are no images.
    """
    every = sets.image_ids
    if not every:
        raise DataError("the masks files have no images, and a figure needs one; check the inputs")
    if settings.ids is not None:
        for image_id in settings.ids:
            if image_id not in every:
                raise UsageError(
                    f"--select {image_id}: the first masks file has no image with this id; it has "
                    f"{every[0]} to {every[-1]}"
                )
        return settings.ids
    if settings.select == RANDOM:
        rng = np.random.default_rng(seed)
        few = min(settings.columns, len(every))
        return sorted(rng.choice(every, few, replace=False).tolist())
    sign = 1 if settings.select == WORST else -1
    rated = []
    for photograph in sets.photographs(on_error):
        quality = _mean_recall(photograph) if truth else _mean_score(photograph)
        if quality is not None:
            rated.append((sign * quality, photograph.image["id"]))
    if not rated:
        what = "has no masks of these images" if truth else "is needed: the masks have no scores"
        raise DataError(f"--select {settings.select}: a ground truth {what}")
    return [image_id for _, image_id in sorted(rated)[: settings.columns]]


def recall(found: Sequence[Annotation], truth: Sequence[Annotation]) -> float | None:
    """Return the fraction of masks that are found with an IoU over 0.5, 0..1; None without any.

    Crowd regions do not count.
    """
    wanted = [mask for mask in truth if not mask.iscrowd]
    if not wanted:
        return None
    theirs, ours = tables_of([list(found), wanted])
    return float((partners(theirs, ours) >= 0).mean())


def _mean_recall(photograph: Photograph) -> float | None:
    *found, truth = photograph.sets
    recalls = [recall(masks, truth) for masks in found]
    known = [value for value in recalls if value is not None]
    return float(np.mean(known)) if known else None


def _mean_score(photograph: Photograph) -> float | None:
    scores = [mask.score for masks in photograph.sets for mask in masks if mask.score is not None]
    return float(np.mean(scores)) if scores else None
