"""Detections instead of cuts: the masks of any detector, filtered and ranked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unsam_cli import rle as rle_
from unsam_cli.rle import Rle


def select_detections(
    rles: Sequence[Rle], scores: ArrayLike, *, min_score: float = 0.3
) -> NDArray[np.int64]:
    """Choose the detections of one image that serve as its objects.

    Parameters
    ----------
    rles : sequence of Rle, n
        Masks of the image.
    scores : (n,) float
        Their scores; NaN counts as below any threshold.
    min_score : float
        Masks that score less are left out: UnSAM keeps those over 0.3.

    Returns
    -------
    (k,) int64
        Indices of the masks kept, from the highest score down; equal scores keep their order.

    Raises
    ------
    ValueError
        There are not as many scores as masks.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != (len(rles),):
        raise ValueError(f"{len(rles)} masks, but scores of shape {values.shape}")
    if not len(rles):
        return np.empty(0, np.int64)
    kept = np.flatnonzero((values >= min_score) & (rle_.area(rles) > 0))
    return kept[np.argsort(-values[kept], kind="stable")]
