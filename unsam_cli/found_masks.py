"""From the masks of an image to its annotations: who contains whom, and how fine each mask is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

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
        ``divide``, ``conquer`` or ``predict``.
    level : float or None
        The merge threshold at which it appeared, cosine similarity.
    """

    rle: Rle
    score: float
    stage: str
    level: float | None = None


@dataclass(frozen=True)
class FoundMasks(Sequence[FoundMask]):
    """The masks of an image in columns: what :class:`FoundMask` says, for all of them.

    Attributes
    ----------
    table : RunTable
        n masks.
    score : (n,) float64
    stage : (n,) of str
    level : (n,) of float or None
    """

    table: RunTable
    score: NDArray[np.float64]
    stage: Sequence[str]
    level: Sequence[float | None]

    @classmethod
    def of(cls, masks: Sequence[FoundMask], size: tuple[int, int]) -> FoundMasks:
        """Gather single masks of an image of `size` (H, W)."""
        return cls(
            RunTable.from_rles([mask.rle for mask in masks], size=size),
            np.array([mask.score for mask in masks], dtype=np.float64),
            [mask.stage for mask in masks],
            [mask.level for mask in masks],
        )

    def __len__(self) -> int:
        return len(self.score)

    @overload
    def __getitem__(self, index: int) -> FoundMask: ...

    @overload
    def __getitem__(self, index: slice) -> list[FoundMask]: ...

    def __getitem__(self, index: int | slice) -> FoundMask | list[FoundMask]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        i = range(len(self))[index]
        return FoundMask(self.table.rle(i), float(self.score[i]), self.stage[i], self.level[i])


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


def annotate(image_id: int, masks: FoundMasks) -> list[dict[str, Any]]:
    """Return the masks of one image as COCO annotations, the best first.

    ``parent`` is an index into the list, or None; ids are given when the file is written. Scores
    and granularities are rounded to 6 digits, so that files are the same on any machine.
    """
    order = np.argsort(-masks.score, kind="stable")
    ordered = np.array_equal(order, np.arange(len(masks)))
    table = masks.table if ordered else masks.table.take(order)  # a copy
    parent = parents(table, CONTAINED)
    columns = zip(
        order.tolist(),
        table.areas.tolist(),
        table.boxes.tolist(),
        table.to_rles(),
        masks.score[order].round(6).tolist(),
        parent.tolist(),
        granularity(table.areas, parent).round(6).tolist(),
        strict=True,
    )
    return [
        {
            "image_id": image_id,
            "category_id": 1,
            "iscrowd": 0,
            "area": area,
            "bbox": box,
            "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
            "score": score,
            "stage": masks.stage[i],
            "level": masks.level[i],
            "parent": above if above >= 0 else None,
            "granularity": fineness,
        }
        for i, area, box, rle, score, above, fineness in columns
    ]
