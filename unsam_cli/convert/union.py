"""UnSAM+: all masks of one file, and the masks of another that overlap none of them.

References
----------
X. Wang et al., "Segment Anything without Supervision", NeurIPS 2024, arXiv 2406.20081: SA-1B's
masks and the pseudo-masks whose highest IoU with any of them is at most 0.02.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unsam_cli.convert.pairs import Chosen, Pair, combine
from unsam_cli.errors import DataError, counted
from unsam_cli.io.annotations import Annotation
from unsam_cli.io.left_out import LeftOut
from unsam_cli.rle import Rle, iou
from unsam_cli.run.progress import LineReporter
from unsam_cli.run.provenance import Step

# The numbers of masks from each file are logged by default, as progress is.
logger = logging.getLogger(LineReporter.logger_name)


@dataclass(frozen=True)
class UnionCounts:
    """Numbers of images and masks in a union.

    Attributes
    ----------
    images : int
        Number of images in the output.
    first : int
        Number of masks of the first file, which are all kept.
    kept, second : int
        Numbers of masks of the second file that are kept, and of all its masks.
    skipped : list of (str, LeftOut)
        See :class:`~unsam_cli.convert.pairs.Pair`.
    """

    images: int
    first: int
    kept: int
    second: int
    skipped: list[tuple[str, LeftOut]] = field(default_factory=list)


def union(
    first: Path,
    second: Path,
    *,
    max_iou: float = 0.02,
    ranked: bool = False,
    output: str = "-",
    no_clobber: bool = False,
    step: Step | None = None,
    jobs: int | None = None,
    on_error: str = "fail",
    errors: str | None = None,
) -> UnionCounts:
    """Write all masks of one file, and those of another that overlap none of them.

    Parameters
    ----------
    first, second : Path
        Masks files of any form.
    max_iou : float
        Largest IoU, 0..1, of a mask of `second` that is kept with any mask of the same image in
        `first`.
    ranked : bool
        Rank all masks of `first` above those of `second`: their scores become (1 + score) / 2 and
        score / 2. A mask without a score counts as 1.
    output, no_clobber, step, jobs, on_error, errors
        See :func:`~unsam_cli.convert.pairs.combine`, also for the keys of the masks.

    Returns
    -------
    UnionCounts
        Numbers of masks from each file.

    Raises
    ------
    UsageError
        The same file is given twice.
    DataError
        An image has different names or sizes in the two files, or neither file lists it; with
        `ranked`, a score is outside 0..1.
    """

    def choose(mine: list[Annotation], others: list[Annotation]) -> Chosen:
        new = novel([a.rle for a in mine], [a.rle for a in others], max_iou)
        if ranked:
            mine = [_rescored(a, first, 1) for a in mine]
            others = [_rescored(a, second, 0) for a in others]
        kept = [a for a, keep in zip(others, new, strict=True) if keep]
        return [*((a, 0) for a in mine), *((a, 1) for a in kept)]

    options = {"union": True, "max-iou": max_iou, "ranked": ranked, "snap": None}
    pair, kept = combine(
        (first, second),
        choose,
        step or Step("merge", options),
        output=output,
        no_clobber=no_clobber,
        jobs=jobs,
        on_error=on_error,
        errors=errors,
    )
    counts = UnionCounts(len(pair.images), len(pair.first), kept, len(pair.second), pair.skipped)
    _report(counts, pair, max_iou)
    return counts


def novel(first: list[Rle], second: list[Rle], max_iou: float) -> NDArray[np.bool_]:
    """Find the masks that overlap none of the masks in another list.

    Parameters
    ----------
    first : list of Rle, n
        The masks to compare with.
    second : list of Rle, m
        The masks to check, of the same image.
    max_iou : float
        Largest IoU, 0..1, that counts as no overlap.

    Returns
    -------
    (m,) bool
        Whether the highest IoU with any mask of `first` is at most `max_iou`.
    """
    result: NDArray[np.bool_] = iou(first, second).max(axis=0, initial=0) <= max_iou
    return result


def _rescored(a: Annotation, path: Path, rank: int) -> Annotation:
    """Move the score of a mask in `path` from 0..1 to the lower (0) or the upper half (1)."""
    score = 1.0 if a.score is None else a.score
    if not 0 <= score <= 1:
        raise DataError(
            f"{path}: annotation {a.id} has the score {score}; --ranked needs scores in 0..1"
        )
    return replace(a, score=(rank + score) / 2)


def _report(counts: UnionCounts, pair: Pair, max_iou: float) -> None:
    one, two = pair.names
    mine, others = set(pair.first.image_ids), set(pair.second.image_ids)
    logger.info(
        "union: %s of %s, %d of %d masks of %s (IoU at most %g), %s, "
        "of which %d only in %s and %d only in %s",
        *(counted(counts.first, "mask"), one, counts.kept, counts.second, two, max_iou),
        counted(counts.images, "image"),
        *(len(mine - others), one, len(others - mine), two),
        extra={"fields": vars(counts)},
    )
