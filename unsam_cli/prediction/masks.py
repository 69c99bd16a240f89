"""From queries and features of an image to runs: select masks, then enlarge them in slices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unsam_cli.backbones.soundness import check_output
from unsam_cli.models.predictions import Predictions
from unsam_cli.prediction.settings import PredictSettings
from unsam_cli.prediction.views import View
from unsam_cli.rle import Axis, Factors, Rle, RunTable, enlarge

_SLICE = 2**24  # bytes of logits in memory at once
_DRAWN = 128  # masks drawn at once if masks have windows


@dataclass(frozen=True)
class Slice:
    """Some of the masks of a view.

    Attributes
    ----------
    maps : (n, h, w) float32
        Logits, contiguous by columns, as runs are. With `factors` these are features (C, h, w).
    scores : (n,) float32
        Class scores.
    factors : Factors, optional
        Embeddings that the features are multiplied with to get logits, and windows for this.
    """

    maps: NDArray[np.float32]
    scores: NDArray[np.float32]
    factors: Factors | None = None


@dataclass(frozen=True)
class Masks:
    """Masks of an image, which are compressed until all of them are found, and their scores.

    Attributes
    ----------
    rles : list of Rle
        The n masks.
    scores : (n,) float64
        Scores of the masks, 0 to 1.
    """

    rles: list[Rle]
    scores: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rles)

    def take(self, order: NDArray[np.int64]) -> Masks:
        """Return some of the masks, in the given order."""
        return Masks([self.rles[i] for i in order], self.scores[order])


def choose(
    class_logits: Tensor, settings: PredictSettings
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Select the queries that become masks.

    Parameters
    ----------
    class_logits : (Q, 2) tensor
        Logits of the classes "mask" and "no mask" for each of Q queries.
    settings : PredictSettings
        How to predict.

    Returns
    -------
    (n,) int64, (n,) float32
        Ascending indices of the queries, and their class scores.

    Notes
    -----
    The score of a mask is the class score times a number of at most 1. So queries with a class
    score below `min_score` can be dropped at once.
    """
    scores = class_logits.float().softmax(-1)[:, 0].cpu().numpy()
    check_output(scores, settings.dtype)
    wanted = scores >= settings.min_score
    if settings.score_window is not None:
        low, high = settings.score_window
        wanted &= (scores > low) & (scores <= high)
    found = np.flatnonzero(wanted)
    best = found[np.argsort(-scores[found], kind="stable")[: settings.max_masks]]
    chosen = np.sort(best)
    return chosen, scores[chosen]


@torch.inference_mode()
def slices(predictions: Predictions, index: int, settings: PredictSettings) -> Iterator[Slice]:
    """Yield the logits of the selected masks of input `index` of a batch, in bounded slices.

    If masks have windows, a slice holds factors, and `draw` computes the logits inside the windows.
    """
    chosen, scores = choose(predictions.class_logits[-1, index], settings)
    features = predictions.features[index].float()
    embeddings = predictions.embeddings[-1, index].float()
    if predictions.windows is not None:
        windows = predictions.windows[index].numpy()
        maps = _by_columns(features)
        factors = embeddings.cpu().numpy()
        check_output(maps, settings.dtype)
        check_output(factors, settings.dtype)
        for begin in range(0, len(chosen), _DRAWN):
            part = chosen[begin : begin + _DRAWN]
            yield Slice(maps, scores[begin : begin + _DRAWN], Factors(factors[part], windows[part]))
        return
    _, h, w = features.shape
    pixels = features.flatten(1)  # transposing the result is slower, but avoids a copy of 0.1 GB
    count = max(1, _SLICE // (4 * h * w))
    for begin in range(0, len(chosen), count):
        queries = torch.from_numpy(chosen[begin : begin + count]).to(embeddings.device)
        found = _by_columns((embeddings[queries] @ pixels).reshape(-1, h, w))
        check_output(found, settings.dtype)
        yield Slice(found, scores[begin : begin + count])


def _by_columns(maps: Tensor) -> NDArray[np.float32]:
    """Copy maps (n, h, w) to the CPU, with contiguous columns."""
    turned: NDArray[np.float32] = maps.transpose(1, 2).contiguous().cpu().numpy()
    return turned.transpose(0, 2, 1)


def draw(part: Slice, view: View, size: tuple[int, int]) -> Masks:
    """Turn logits into masks of an image of `size` (H, W), and drop empty masks.

    Logits are resized to the input of the network, cropped to remove the padding, and resized to
    the view; a mask is where they are positive. Its score is the class score times the mean
    probability inside the mask.
    """
    _, h, w = part.maps.shape
    (height, width), (tall, wide) = view.inner, view.padded
    found = enlarge(
        part.maps,
        Axis.of(h, view.height, through=(tall, height)),
        Axis.of(w, view.width, through=(wide, width)),
        factors=part.factors,
        summed=True,
        origin=view.x * size[0] + view.y,
        stride=size[0],
    )
    table = RunTable.from_runs(found.offsets, found.runs, size)
    scores = part.scores * found.sums / (table.areas + 1e-6)
    return Masks(table.to_rles(), scores).take(np.flatnonzero(table.areas))


def concatenate(parts: Sequence[Masks]) -> Masks:
    """Return the masks of all parts."""
    scores = [np.empty(0), *(part.scores for part in parts)]
    return Masks([rle for part in parts for rle in part.rles], np.concatenate(scores))
