from __future__ import annotations

import numpy as np
import pytest

from unsam_cli.divide.maskcut import maskcut, maskcut_batch

pytestmark = pytest.mark.torch


def grid(seed: int) -> np.ndarray:
    """Two objects on a background, features noisy."""
    rng = np.random.default_rng(seed)
    label = np.zeros((16, 20), int)
    label[2 : 6 + seed, 3:9] = 1
    label[9:14, 11 : 16 + seed] = 2
    return (rng.normal(size=(3, 24))[label] + rng.normal(0, 0.2, (16, 20, 24))).astype(np.float32)


def test_a_batch_finds_what_single_images_give() -> None:
    flat = np.ones((16, 20, 24), np.float32)  # finished at once, while the others go on
    grids = [grid(0), flat, grid(1), grid(2)]
    batch = maskcut_batch(grids, device="cpu", max_masks=3, tau=0.3)
    for features, cuts in zip(grids, batch, strict=True):
        single = maskcut(features, max_masks=3, tau=0.3)
        assert len(cuts) == len(single)
        for one, other in zip(cuts, single, strict=True):
            np.testing.assert_array_equal(one.mask, other.mask)
            assert one.score == pytest.approx(other.score)
    assert [len(cuts) > 0 for cuts in batch] == [True, False, True, True]


def test_grids_of_a_batch_have_one_shape() -> None:
    with pytest.raises(ValueError, match="one shape"):
        maskcut_batch([grid(0), grid(1)[:, :10]], device="cpu")
