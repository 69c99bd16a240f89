"""Give the masks of a trained network the borders of the pseudo-masks that they resemble."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from unsam_cli.convert.pairs import Chosen, combine
from unsam_cli.errors import counted
from unsam_cli.io.annotations import Annotation
from unsam_cli.rle import iou
from unsam_cli.run.progress import LineReporter
from unsam_cli.run.provenance import Step

logger = logging.getLogger(LineReporter.logger_name)


def snap(
    first: Path,
    second: Path,
    *,
    least: float,
    output: str = "-",
    no_clobber: bool = False,
    step: Step,
    on_error: str = "fail",
) -> bool:
    """Write the masks of one file, in the shape of the masks of another that they resemble.

    A mask takes the shape of the most similar mask of `second` and keeps its score.

    Parameters
    ----------
    first, second : Path
        Masks files of any form.
    least : float
        Smallest IoU of two masks that resemble each other, above 0 and at most 1.
    output, no_clobber, step, on_error
        See :func:`~unsam_cli.convert.pairs.combine`, also for the errors.

    Returns
    -------
    bool
        Whether an invalid mask was left out.
    """

    def choose(mine: list[Annotation], others: list[Annotation]) -> Chosen:
        chosen = [(a, 0) for a in mine]
        ious = iou([a.rle for a in mine], [a.rle for a in others])
        for i in np.flatnonzero(ious.max(axis=1, initial=0) >= least):
            other = others[ious[i].argmax()]
            shape = replace(mine[i], rle=other.rle, area=other.area, bbox=other.bbox)
            chosen[i] = shape, 1
        return chosen

    pair, snapped = combine(
        (first, second), choose, step, output=output, no_clobber=no_clobber, on_error=on_error
    )
    images, one, two = len(pair.images), len(pair.first), len(pair.second)
    logger.info(
        "snap: %d of %d masks of %s take the shape of one of %s (IoU at least %g), %s",
        *(snapped, one, *pair.names, least, counted(images, "image")),
        extra={"fields": {"images": images, "first": one, "kept": snapped, "second": two}},
    )
    return bool(pair.skipped)
