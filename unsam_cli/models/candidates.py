"""Which cells become masks: those that no neighbour and no better mask speaks for.

All of this comes before masks are drawn: overlaps are measured at stride 4.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor
from torch.nn import functional

from unsam_cli.models.cells import Cells
from unsam_cli.models.predictions import Predictions

_LEAST_SCORE = 0.02
_CHUNK = 128  # masks at once
SAME = 0.6
"""IoU with a better mask, over which a mask is that one again."""
FADING = 0.1
_NEVER = -1000.0  # a logit whose sigmoid is 0


def pick(features: Tensor, numbers: Tensor, cells: Cells, most: int) -> Predictions:
    """Predict the masks of the cells that are worth drawing.

    Parameters
    ----------
    features : (B, C + 6, h, w) float32 tensor
        Of pixels, the fixed ones last.
    numbers : (B, T, 1 + C + 6) float32 tensor
        Of all cells.
    cells : Cells
        Where they are.
    most : int
        Most masks of an input.

    Returns
    -------
    Predictions
        Of as many queries for every input; what is left over has a score of 0 and no mask.

    Notes
    -----
    A cell must be no worse than its neighbours. A mask that is a better one again stays, as it may
    be the better fit after all, but with a score that puts it behind all others.

    References
    ----------
    Wang et al., "SOLOv2", NeurIPS 2020, section 3.3 (scores that fade by overlap).
    """
    found = []
    for one, maps in zip(numbers, features, strict=True):
        scores = one[:, 0].sigmoid()
        scores = scores * _peaks(scores, cells.grids)
        best = scores.topk(min(most, len(scores))).indices
        best = best[scores[best] > _LEAST_SCORE]
        embeddings = cells.take(best).embeddings(one[best])
        found.append((_fade(scores[best], embeddings, maps), embeddings))
    count = max(len(scores) for scores, _ in found)
    classes = torch.stack(
        [
            functional.pad(scores.logit(eps=1e-6), (0, count - len(scores)), value=_NEVER)
            for scores, _ in found
        ]
    )
    padded = [functional.pad(e, (0, 0, 0, count - len(e))) for _, e in found]
    return Predictions(
        torch.stack((classes, torch.zeros_like(classes)), -1)[None],
        torch.stack(padded)[None],
        features,
    )


def _peaks(scores: Tensor, grids: list[tuple[int, int]]) -> Tensor:
    """Say which cells are no worse than their neighbours of the same range, (T,)."""
    parts = []
    for part, grid in zip(torch.split(scores, [h * w for h, w in grids]), grids, strict=True):
        level = part.view(1, *grid)
        parts.append((level >= functional.max_pool2d(level, 3, 1, 1)).flatten())
    return torch.cat(parts)


def _fade(scores: Tensor, embeddings: Tensor, features: Tensor) -> Tensor:
    """Lower the scores of masks that are a better one again; the best comes first."""
    if not len(scores):
        return scores
    small = functional.avg_pool2d(features, 2).flatten(1)
    places = [
        (part @ small > 0).nonzero().cpu().numpy() for part in torch.split(embeddings, _CHUNK)
    ]
    rows = np.concatenate([inside[:, 0] + i * _CHUNK for i, inside in enumerate(places)])
    columns = np.concatenate([inside[:, 1] for inside in places])
    shape = len(embeddings), small.shape[1]
    masks = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)
    common = (masks @ masks.T).toarray()
    areas = common.diagonal()
    iou = common / np.maximum(areas[:, None] + areas - common, 1)
    return scores * torch.from_numpy(_weights(iou)).to(scores)


def _weights(iou: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what scores are multiplied by, (n,): 1 unless a better mask is the same."""
    weights = np.ones(len(iou), np.float32)
    for i in range(1, len(iou)):
        overlap = (iou[i, :i] * (weights[:i] == 1)).max()
        if overlap > SAME:
            weights[i] = FADING * (1 - overlap)
    return weights
