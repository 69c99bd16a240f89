"""Select the cells that become masks.

A cell with a better neighbour, and a cell whose mask repeats a better mask, get lower scores. Full
masks are drawn later; overlaps are measured at stride 4.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from unsam_cli.models.cells import FORM, STRIDES, Cells
from unsam_cli.models.predictions import Predictions
from unsam_cli.rle import Axis, Factors, RunTable, enlarge, intersections, suppress

_LEAST_SCORE = 0.02
SAME = 0.65
"""A mask whose IoU with a better mask is above this is a duplicate."""
FADING = 0.1
_NEIGHBOUR = 0.5  # factor of the score of a cell that has a better neighbour
_NEVER = -1000.0  # a logit whose sigmoid is 0


def pick(features: Tensor, numbers: Tensor, cells: Cells, most: int) -> Predictions:
    """Predict the masks of the best cells.

    Parameters
    ----------
    features : (B, C + 6, h, w) float32 tensor
        Pixel features; the six fixed ones (`place_maps`) are last.
    numbers : (B, T, 1 + C + 6) float32 tensor
        Network output for each of the T cells, see `Cells.embeddings`.
    cells : Cells
        Positions and sizes of the cells.
    most : int
        Maximum number of masks per image.

    Returns
    -------
    Predictions
        One layer, with windows. All images have the same number of queries; the unused queries of
        an image have a score of 0 and an empty mask.

    Notes
    -----
    The score of a cell with a better neighbour is multiplied by 0.5. The duplicate of a better mask
    is kept, because it may fit better, but its score is at most 0.035 times the original one.

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
        chosen, their = cells.take(best), one[best]
        embeddings = chosen.embeddings(their)
        windows = _windows(chosen.boxes(their, maps[:-FORM].square().sum(0).max().sqrt()), maps)
        weights = torch.from_numpy(_weights(_rough(maps, embeddings, windows))).to(scores)
        found.append(((scores[best] * weights).logit(eps=1e-6), embeddings, windows))
    count = max(len(windows) for _, _, windows in found)
    classes = torch.stack(
        [functional.pad(logits, (0, count - len(logits)), value=_NEVER) for logits, _, _ in found]
    )
    embeddings, windows = (
        torch.stack([functional.pad(one[i], (0, 0, 0, count - len(one[i]))) for one in found])
        for i in (1, 2)
    )
    return Predictions(
        torch.stack((classes, torch.zeros_like(classes)), -1)[None],
        embeddings[None],
        features,
        windows,
    )


def _peaks(scores: Tensor, grids: list[tuple[int, int]]) -> Tensor:
    """Return factors for the scores, (T,): 1 where no neighbour of the same range is better."""
    parts = []
    for part, grid in zip(torch.split(scores, [h * w for h, w in grids]), grids, strict=True):
        level = part.view(1, *grid)
        parts.append((level >= functional.max_pool2d(level, 3, 1, 1)).flatten())
    return torch.cat(parts).to(scores) * (1 - _NEIGHBOUR) + _NEIGHBOUR


def _windows(boxes: Tensor, features: Tensor) -> Tensor:
    """Return boxes (n, 4), in pixels from the centre, as windows of features with even borders."""
    _, h, w = features.shape
    sides = torch.tensor([w, h, w, h], device=boxes.device) // 2
    places = (boxes.nan_to_num() / STRIDES[0] + sides / 2).floor()
    places[:, 2:] += 1
    return 2 * places.clamp(torch.zeros_like(sides), sides).long().cpu()


def _rough(features: Tensor, embeddings: Tensor, windows: Tensor) -> RunTable:
    """Return the masks at half the resolution of the features."""
    coarse = functional.avg_pool2d(features, 2).cpu().numpy()
    _, h, w = coarse.shape
    factors = Factors(embeddings.cpu().numpy(), windows.numpy() // 2)
    found = enlarge(coarse, Axis.of(h, h), Axis.of(w, w), factors=factors)
    return RunTable.from_runs(found.offsets, found.runs, (h, w))


def _weights(table: RunTable) -> NDArray[np.float32]:
    """Return factors for the scores, (n,): 1 unless a mask is the duplicate of an earlier one."""
    kept = suppress(table, np.arange(len(table)), SAME)
    weights = np.ones(len(table), np.float32)
    again, better = np.flatnonzero(~kept), np.flatnonzero(kept)
    if len(again):
        pairs = np.stack(np.meshgrid(again, better, indexing="ij"), -1)
        common = intersections(table, pairs).reshape(len(again), len(better)).astype(np.float32)
        iou = common / (table.areas[again][:, None] + table.areas[better] - common)
        overlap = np.where(better < again[:, None], iou, 0).max(axis=1)
        weights[again] = FADING * (1 - overlap)
    return weights
