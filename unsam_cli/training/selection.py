"""Selection of the masks of an image: of many pseudo-masks, about half are near-duplicates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unsam_cli.io.annotations import Annotation
from unsam_cli.rle import RunTable, area, suppress
from unsam_cli.training.recipe import DataSettings


def select(found: Sequence[Annotation], settings: DataSettings) -> list[Annotation]:
    """Select masks of an image by area, overlap and score; return them in order of score.

    Masks without a score come last; masks of equal score keep their order.

    Parameters
    ----------
    found : sequence of Annotation
        All masks of the image.
    settings : DataSettings
        `min_area`, `max_area`, `nms_iou` and `best` are used.
    """
    ranked = sorted(found, key=lambda a: np.inf if a.score is None else -a.score)
    if ranked and (settings.min_area > 0 or settings.max_area < 1):
        height, width = ranked[0].rle["size"]
        sizes = area([a.rle for a in ranked])
        most = settings.max_area * height * width
        ranked = [a for a, n in zip(ranked, sizes, strict=True) if settings.min_area <= n <= most]
    if ranked and settings.nms_iou < 1:
        table = RunTable.from_rles([a.rle for a in ranked])
        kept = suppress(table, np.arange(len(ranked)), settings.nms_iou)
        ranked = [a for a, keep in zip(ranked, kept, strict=True) if keep]
    return ranked[: settings.best] if settings.best else ranked
