"""The contribution of one image to the metrics, in a few bytes per prediction."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# Thresholds as in pycocotools, computed by the same expressions.
THRESHOLDS = np.linspace(0.5, 0.95, int(np.round((0.95 - 0.5) / 0.05)) + 1, endpoint=True)
RECALLS = np.linspace(0.0, 1.00, int(np.round((1.00 - 0.0) / 0.01)) + 1, endpoint=True)
RANGES = {
    "all": (0.0, 1e5**2),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e5**2),
}
"""Size ranges as areas in pixels, both ends included: 32 x 32 pixels are small and medium."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Predictions of one image after matching; A size ranges, n predictions.

    Attributes
    ----------
    scores : (n,) float64
        Scores, descending.
    matched : (A, n) uint16
        Bit t is set if the prediction is matched to a mask at the t-th IoU threshold.
    ignored : (A, n) uint16
        Bit t is set if the prediction counts neither as correct nor as wrong: it is matched to an
        ignored mask, or it is unmatched and outside of the size range.
    positives : (A,) int64
        Number of masks of the ground truth in each size range, without crowd regions.
    """

    scores: NDArray[np.float64]
    matched: NDArray[np.uint16]
    ignored: NDArray[np.uint16]
    positives: NDArray[np.int64]


def unpack(bits: NDArray[np.uint16], threshold: int) -> NDArray[np.bool_]:
    """Return the flags of one threshold, as a bool array of the same shape."""
    return np.asarray((bits >> np.uint16(threshold)) & np.uint16(1), dtype=bool)


def in_range(areas: NDArray[np.float64] | NDArray[np.int64], name: str) -> NDArray[np.bool_]:
    """Whether areas belong to a size range."""
    low, high = RANGES[name]
    return np.asarray((areas >= low) & (areas <= high))


@dataclass(frozen=True, slots=True)
class FileResult:
    """One image and one file of predictions.

    Attributes
    ----------
    predictions : int
        Number of predictions of the image, including those beyond the largest ``--max-dets``.
    category_zero : int
        Number of predictions with category 0.
    matches : Matches
        Matches if all masks of the ground truth count.
    by : dict
        Matches if only masks with one value of the key ``--by`` count, by the values in this image.
    rest : Matches, optional
        Matches if no mask counts, which serve all other values.
    """

    predictions: int
    category_zero: int
    matches: Matches
    by: dict[str, Matches]
    rest: Matches | None = None


@dataclass(frozen=True, slots=True)
class PointResult:
    """One image and one file of masks from prompts.

    Attributes
    ----------
    predictions : int
        Number of masks of the image.
    segments : list of [max, oracle, clicks80, clicks90]
        For every target the IoU of the mask with the highest score, the best IoU, and the numbers
        of clicks until the IoU reaches 0.8 and 0.9.
    clicks : bool
        Whether the predictions contain their number of clicks.
    missed : int
        Number of targets without predictions.
    """

    predictions: int
    segments: list[list[float]]
    clicks: bool
    missed: int


@dataclass(frozen=True, slots=True)
class Contribution:
    """One image, as an item of ``evaluate``.

    Attributes
    ----------
    image_id : int
        Id of the image in the ground truth.
    file_name : str
        Name of the image in the ground truth.
    truths, crowds : int
        Numbers of masks and of crowd regions in the ground truth.
    odd_areas : int
        Number of masks of the ground truth whose stated area differs much from their pixels.
    empty : int
        Number of masks of the ground truth without a pixel, which are left out.
    files : list of FileResult
        One result per file of predictions, for whole images.
    points : list of PointResult
        One result per file of predictions, for prompts.
    """

    image_id: int
    file_name: str
    truths: int
    crowds: int
    odd_areas: int = 0
    empty: int = 0
    files: list[FileResult] = field(default_factory=list)
    points: list[PointResult] = field(default_factory=list)
