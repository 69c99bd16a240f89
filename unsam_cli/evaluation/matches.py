"""The contribution of one image to the metrics, in a few bytes per prediction."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# As in pycocotools, computed by the same expressions.
THRESHOLDS = np.linspace(0.5, 0.95, int(np.round((0.95 - 0.5) / 0.05)) + 1, endpoint=True)
RECALLS = np.linspace(0.0, 1.00, int(np.round((1.00 - 0.0) / 0.01)) + 1, endpoint=True)
RANGES = {
    "all": (0.0, 1e5**2),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e5**2),
}
"""Areas in pixels, both ends included, so that 32 x 32 pixels are small and medium."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Predictions of one image after matching; A size ranges, n predictions.

    Attributes
    ----------
    scores : (n,) float64
        Descending.
    matched : (A, n) uint16
        Bit t: matched to some mask at the t-th IoU threshold.
    ignored : (A, n) uint16
        Bit t: counts neither as right nor as wrong: matched to an ignored mask, or unmatched and
        outside of the size range.
    positives : (A,) int64
        Masks of the ground truth that count: no crowds, and of the size range.
    """

    scores: NDArray[np.float64]
    matched: NDArray[np.uint16]
    ignored: NDArray[np.uint16]
    positives: NDArray[np.int64]


def unpack(bits: NDArray[np.uint16], threshold: int) -> NDArray[np.bool_]:
    """Take the flags of one threshold out of the bits."""
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
        All predictions of the image, also those beyond the largest of ``--max-dets``.
    category_zero : int
        How many of them are of category 0.
    matches : Matches
        All masks of the ground truth count.
    by : dict
        Only masks with this value of the key of ``--by`` count; values of this image.
    rest : Matches, optional
        No mask counts: for all other values.
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
        All masks of the image.
    segments : list of [max, oracle, clicks80, clicks90]
        For every target: IoU of the mask with the highest score, best IoU, and clicks until the IoU
        reached 0.8 and 0.9.
    clicks : bool
        Whether the predictions tell with how many clicks they were made.
    missed : int
        Targets without predictions.
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
        As the ground truth calls it.
    file_name : str
        As the ground truth calls it.
    truths, crowds : int
        Masks of the ground truth without crowds, and crowds.
    odd_areas : int
        Masks of the ground truth whose stated area is far from the pixels they cover.
    files : list of FileResult
        For every file of predictions, of whole images.
    points : list of PointResult
        For every file of predictions, of prompts.
    """

    image_id: int
    file_name: str
    truths: int
    crowds: int
    odd_areas: int = 0
    files: list[FileResult] = field(default_factory=list)
    points: list[PointResult] = field(default_factory=list)
