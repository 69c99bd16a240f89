"""Which detections become objects."""

from __future__ import annotations

import numpy as np
import pytest

from unsam_cli import rle
from unsam_cli.divide.detections import select_detections


def masks(*areas: int) -> list[rle.Rle]:
    return [rle.encode(np.arange(20).reshape(4, 5) < a) for a in areas]


def test_filters_and_ranks() -> None:
    kept = select_detections(
        masks(5, 0, 7, 1, 20, 2), [0.3, 0.9, 0.9, 0.29, 0.9, float("nan")], min_score=0.3
    )
    assert kept.dtype == np.int64
    assert kept.tolist() == [2, 4, 0]


def test_none() -> None:
    assert select_detections([], []).shape == (0,)
    assert select_detections(masks(0), [1.0]).shape == (0,)


def test_counts_must_agree() -> None:
    with pytest.raises(ValueError, match="2 masks"):
        select_detections(masks(1, 1), [0.5])
