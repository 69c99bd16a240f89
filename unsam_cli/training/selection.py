"""Which masks of an image are learnt: pseudo-masks are many, and half of them near-duplicates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unsam_cli.io.annotations import Annotation
from unsam_cli.rle import RunTable, area, suppress
from unsam_cli.training.recipe import DataSettings


def select(found: Sequence[Annotation], settings: DataSettings) -> list[Annotation]:
    """Return the masks of an image that are worth learning, the best first.

    Masks without a score rank last; those of equal scores keep their order.
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
