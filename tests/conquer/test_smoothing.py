from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from unsam_cli.conquer.smoothing import smooth


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 40, 3), (30, 7, 3), (64, 48, 1)])
@pytest.mark.parametrize("deviation", [0.7, 2.0])
def test_it_is_the_gaussian_filter_of_scipy(shape: tuple[int, int, int], deviation: float) -> None:
    colours = np.random.default_rng(1).normal(20, 30, shape).astype(np.float32)
    expected = gaussian_filter(colours, (deviation, deviation, 0), mode="nearest")
    assert np.array_equal(smooth(colours, deviation), expected)
