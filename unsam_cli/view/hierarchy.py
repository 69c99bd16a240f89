"""The masks of one image as a forest, from wholes to parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unsam_cli.errors import MaskFileError
from unsam_cli.io.masks import Annotation
from unsam_cli.rle import Rle, RunTable, resize
from unsam_cli.rle import parents as containing


@dataclass(frozen=True, slots=True)
class Forest:
    """n masks, in the order of the annotations they come from.

    Attributes
    ----------
    order : (n,) int64
        Indices of the masks from the largest to the smallest, the order in which they are painted.
    parents : (n,) int64
        Index of the mask that contains this one, or -1.
    depths : (n,) int64
        Number of ancestors of each mask.
    areas : (n,) int64
        Area of each mask in pixels.
    """

    order: NDArray[np.int64]
    parents: NDArray[np.int64]
    depths: NDArray[np.int64]
    areas: NDArray[np.int64]

    def revealed(self, depth: int | None) -> NDArray[np.bool_]:
        """Mark the masks with at most `depth` ancestors, (n,) bool; None marks all masks."""
        if depth is None:
            return np.ones(len(self.depths), dtype=np.bool_)
        return np.asarray(self.depths <= depth)

    def wholes(self, shown: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Mark the masks that have a part among those in `shown`, (n,) bool."""
        whole = np.zeros(len(self.parents), dtype=np.bool_)
        above = self.parents[shown]
        whole[above[above >= 0]] = True
        return whole


def forest(annotations: Sequence[Annotation], *, containment: float = 0.9) -> Forest:
    """Order the masks of one image by size and containment.

    Parameters
    ----------
    annotations : sequence of Annotation
        The masks of one image, all of the same size. If none of them names a parent, as in files
        of other programs, the parent of a mask is the smallest mask that contains it.
    containment : float
        Least fraction of a mask's pixels, 0..1, that such a parent contains.

    Returns
    -------
    Forest
        The masks in the order of `annotations`.

    Raises
    ------
    MaskFileError
        The masks differ in size.

    Notes
    -----
    A parent that does not exist counts as none, and a cycle of parents is broken up, so that files
    of other programs can be shown.
    """
    try:
        table = RunTable.from_rles([annotation.rle for annotation in annotations])
    except ValueError as error:
        image_id = annotations[0].image_id
        raise MaskFileError(
            f"image {image_id}: {error}; all its masks must have one size"
        ) from error
    named = [annotation.parent_id for annotation in annotations]
    if any(parent is not None for parent in named):
        place = {annotation.id: i for i, annotation in enumerate(annotations)}
        found = np.array([-1 if p is None else place.get(p, -1) for p in named], dtype=np.int64)
    else:
        found = containing(table, containment)
    parents, depths = _measured(found.tolist())
    order = np.argsort(-table.areas, kind="stable")
    return Forest(order, parents, depths, table.areas)


def fitted(rles: Sequence[Rle], size: tuple[int, int]) -> list[Rle]:
    """Resize masks to the resolution `size`, (H, W), of a picture.

    Raises
    ------
    MaskFileError
        A mask has another aspect ratio than the picture, for instance because one is rotated.
    """
    h, w = size
    out = []
    for rle in rles:
        height, width = rle["size"]
        # Rounding a side to whole pixels may change the aspect ratio by half a pixel per side.
        if abs(height * w - width * h) > max(height, width, h, w):
            raise MaskFileError(
                f"the masks are for {width}x{height} pixels, but the image has {w}x{h}: is "
                "it the right image?"
            )
        out.append(rle if (height, width) == (h, w) else resize(rle, size))
    return out


def _measured(parents: list[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return parents without cycles, (n,) int64, and depths, (n,) int64."""
    depths = [-1] * len(parents)
    for start in range(len(parents)):
        path, seen, at = [], set(), start
        while at >= 0 and depths[at] < 0 and at not in seen:
            path.append(at)
            seen.add(at)
            at = parents[at]
        if at in seen:
            parents[path[-1]] = at = -1
        depth = depths[at] if at >= 0 else -1
        for index in reversed(path):
            depth += 1
            depths[index] = depth
    return np.array(parents, dtype=np.int64), np.array(depths, dtype=np.int64)
