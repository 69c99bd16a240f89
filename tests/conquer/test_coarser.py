from __future__ import annotations

import numpy as np
import pytest

from unsam_cli.conquer.coarser import coarser


def noise(h: int, w: int) -> np.ndarray:
    return np.random.default_rng(h + w).normal(size=(h, w, 3)).astype(np.float32)


@pytest.mark.parametrize(("h", "w", "rows", "columns"), [(6, 8, 3, 4), (7, 5, 4, 3), (3, 1, 2, 1)])
def test_each_patch_counts_by_the_area_that_lies_in_the_larger_one(
    h: int, w: int, rows: int, columns: int
) -> None:
    fine = noise(h, w)
    points = np.kron(fine, np.ones((rows, columns, 1)))
    wanted = points.reshape(rows, h, columns, w, 3).mean((1, 3))
    np.testing.assert_allclose(coarser(fine, rows / h), wanted, atol=1e-6)


def test_a_mirrored_grid_gives_the_mirrored_means() -> None:
    fine = noise(11, 16)
    for mirrored in (np.s_[::-1], np.s_[:, ::-1]):
        found = coarser(np.ascontiguousarray(fine[mirrored]), 0.7)
        np.testing.assert_array_equal(found, coarser(fine, 0.7)[mirrored])


def test_a_share_of_all_changes_nothing_and_a_tiny_one_leaves_one_patch() -> None:
    fine = noise(5, 4)
    np.testing.assert_array_equal(coarser(fine, 1.0), fine)
    assert coarser(fine, 0.01).shape == (1, 1, 3)
