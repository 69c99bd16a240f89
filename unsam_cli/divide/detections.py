"""Detections instead of cuts: filter and rank the masks of any detector."""

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
        Scores of the masks. NaN counts as below any threshold.
    min_score : float
        Lowest score of a mask that is kept. UnSAM keeps masks with scores above 0.3.

    Returns
    -------
    (k,) int64
        Indices of the masks that are kept, by falling score; equal scores keep their order. Empty
        masks are left out.

    Raises
    ------
    ValueError
        The numbers of scores and masks differ.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != (len(rles),):
        raise ValueError(f"{len(rles)} masks, but scores of shape {values.shape}")
    if not len(rles):
        return np.empty(0, np.int64)
    kept = np.flatnonzero((values >= min_score) & (rle_.area(rles) > 0))
    return kept[np.argsort(-values[kept], kind="stable")]
