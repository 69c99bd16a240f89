"""From the factors of an image's masks to runs: chosen first, enlarged in slices."""

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

_SLICE = 2**24  # bytes of logits at once
_DRAWN = 128  # masks at once where there are windows


@dataclass(frozen=True)
class Slice:
    """Some of the masks of a view.

    Attributes
    ----------
    maps : (n, h, w) float32
        Logits, contiguous by columns, as runs are; or with factors features (C, h, w).
    scores : (n,) float32
        Class scores.
    factors : Factors, optional
        What features are multiplied with to get logits, and where.
    """

    maps: NDArray[np.float32]
    scores: NDArray[np.float32]
    factors: Factors | None = None


@dataclass(frozen=True)
class Masks:
    """Masks of an image, compressed as they wait for each other, and how good they are.

    Attributes
    ----------
    rles : list of Rle
        n masks.
    scores : (n,) float64
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
    """Return the queries that become masks, ascending, and their class scores.

    Parameters
    ----------
    class_logits : (Q, 2) tensor
        Of "a mask" and of "nothing".
    settings : PredictSettings

    Notes
    -----
    The score of a mask is the class score times a number below 1, so that queries below the least
    score wanted can be left out at once.
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
    """Yield the logits of the chosen masks of one input of a batch, a bounded number at once.

    If masks have windows, their logits are not computed yet: that takes longer than drawing them.
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
    pixels = features.flatten(1)  # turning what comes out is dearer, but needs no copy of 0.1 GB
    count = max(1, _SLICE // (4 * h * w))
    for begin in range(0, len(chosen), count):
        queries = torch.from_numpy(chosen[begin : begin + count]).to(embeddings.device)
        found = _by_columns((embeddings[queries] @ pixels).reshape(-1, h, w))
        check_output(found, settings.dtype)
        yield Slice(found, scores[begin : begin + count])


def _by_columns(maps: Tensor) -> NDArray[np.float32]:
    """Bring maps (n, h, w) to the CPU, where columns are contiguous."""
    turned: NDArray[np.float32] = maps.transpose(1, 2).contiguous().cpu().numpy()
    return turned.transpose(0, 2, 1)


def draw(part: Slice, view: View, size: tuple[int, int]) -> Masks:
    """Turn logits into masks of an image of `size` (H, W), without those that are empty.

    A mask is where its logits are positive, once they have been resized to the network's input,
    freed from its padding, and resized to the view. Its score is the class score times the mean
    probability inside of it.
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
