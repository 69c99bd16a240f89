"""From the masks of an image to its annotations: who contains whom, and how fine each mask is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unsam_cli.rle import Rle, RunTable, parents

CONTAINED = 0.9
"""A mask is part of another if that holds at least this fraction of its pixels."""

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FoundMask:
    """A mask of an image, as a stage found it.

    Attributes
    ----------
    rle : Rle
        The mask at full image size.
    score : float
        What ranks it among the masks of its image.
    stage : str
        ``divide`` or ``conquer``.
    level : float or None
        The merge threshold at which it appeared, cosine similarity.
    """

    rle: Rle
    score: float
    stage: str
    level: float | None = None


def granularity(areas: IntArray, parent: IntArray) -> NDArray[np.float64]:
    """Return how coarse each mask is among all masks below its root.

    Parameters
    ----------
    areas : (n,) int64
        Pixels of each mask.
    parent : (n,) int64
        Index of the smallest mask that contains it, -1 for a root.

    Returns
    -------
    (n,) float64
        0.1 + 0.9 (sqrt A - sqrt A_min) / (sqrt A_max - sqrt A_min), so from 0.1 for the finest to
        1.0 for the coarsest; 1.0 where all areas below a root are equal.

    References
    ----------
    J. Yu et al., "UnSAMv2: Self-Supervised Learning Enables Segment Anything at Any Granularity",
    2025, arXiv 2511.13714: the granularity of a mask.
    """
    side = np.sqrt(areas.astype(np.float64))
    root = _roots(parent)
    least, most = side.copy(), side.copy()
    np.minimum.at(least, root, side)
    np.maximum.at(most, root, side)
    span = (most - least)[root]
    relative = (side - least[root]) / np.where(span > 0, span, 1)
    return np.where(span > 0, 0.1 + 0.9 * relative, 1.0)


def _roots(parent: IntArray) -> IntArray:
    """Follow parents to the top, doubling the distance each time."""
    root = np.where(parent < 0, np.arange(len(parent)), parent)
    while not np.array_equal(further := root[root], root):
        root = further
    return root


def annotate(image_id: int, masks: Sequence[FoundMask]) -> list[dict[str, Any]]:
    """Return the masks of one image as COCO annotations, the best first.

    ``parent`` is an index into the list, or None; ids are given when the file is written. Scores
    and granularities are rounded to 6 digits, so that files are the same on any machine.
    """
    if not masks:
        return []
    ranked = sorted(masks, key=lambda mask: -mask.score)
    table = RunTable.from_rles([mask.rle for mask in ranked])
    parent = parents(table, CONTAINED)
    fineness = granularity(table.areas, parent)
    return [
        {
            "image_id": image_id,
            "category_id": 1,
            "iscrowd": 0,
            "area": int(table.areas[i]),
            "bbox": table.boxes[i].tolist(),
            "segmentation": {"size": mask.rle["size"], "counts": mask.rle["counts"].decode()},
            "score": round(float(mask.score), 6),
            "stage": mask.stage,
            "level": mask.level,
            "parent": int(parent[i]) if parent[i] >= 0 else None,
            "granularity": round(float(fineness[i]), 6),
        }
        for i, mask in enumerate(ranked)
    ]
