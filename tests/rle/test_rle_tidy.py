"""Small holes and islands, against labelled whole arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import scipy.ndimage
from hypothesis import assume, given
from hypothesis import strategies as st

from unsam_cli.rle import decode, encode, piece_of, tidy

Mask = npt.NDArray[np.bool_]


def reference(mask: Mask, smallest: int) -> Mask:
    """Holes first, then islands, with eight neighbours."""

    def small(of: Mask) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        labels, _ = scipy.ndimage.label(of, np.ones((3, 3)))
        sizes = np.bincount(labels.ravel())
        sizes[0] = smallest
        return labels, sizes < smallest

    labels, holes = small(~mask)
    mask = mask | holes[labels]
    labels, islands = small(mask)
    if islands[1:].all() and len(islands) > 1:
        sizes = np.bincount(labels.ravel())[1:]
        assume((sizes == sizes.max()).sum() == 1)  # of equals, any may stay
        return np.asarray(labels == sizes.argmax() + 1)
    return mask & ~islands[labels]


@given(
    seed=st.integers(0, 2**16),
    height=st.integers(1, 24),
    width=st.integers(1, 24),
    density=st.floats(0.05, 0.95),
    smallest=st.integers(1, 60),
)
def test_as_with_whole_arrays(
    seed: int, height: int, width: int, density: float, smallest: int
) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < density
    cleaned = decode(tidy(encode(mask), smallest))
    np.testing.assert_array_equal(cleaned, reference(mask, smallest))


def test_what_is_large_enough_is_the_same_object() -> None:
    mask = np.zeros((20, 20), bool)
    mask[2:9, 2:9] = True
    rle = encode(mask)
    assert tidy(rle, 49) is rle
    assert tidy(rle, 50) is rle  # the only island


@pytest.mark.parametrize("corner", [True, False])
def test_holes_and_islands_touch_at_corners(corner: bool) -> None:
    mask = np.zeros((12, 12), bool)
    mask[1:11, 1:5] = True
    mask[4, 2] = mask[5, 3] = False  # one hole of two pixels
    mask[7, 6 if not corner else 5] = True
    mask[8, 6] = corner
    cleaned = decode(tidy(encode(mask), 2))
    assert not cleaned[4, 2]
    assert not cleaned[5, 3]
    assert cleaned[8, 6] == corner
    filled = decode(tidy(encode(mask), 3))
    assert filled[4, 2]
    assert filled[5, 3]


def test_an_empty_mask_stays_empty() -> None:
    assert not decode(tidy(encode(np.zeros((5, 5), bool)), 10)).any()


@given(
    seed=st.integers(0, 2**16),
    height=st.integers(1, 24),
    width=st.integers(1, 24),
    density=st.floats(0.05, 0.95),
)
def test_pieces_are_those_of_whole_arrays(
    seed: int, height: int, width: int, density: float
) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < density
    labels, count = scipy.ndimage.label(mask)
    found = piece_of(encode(mask), np.argwhere(mask))
    pairs = set(zip(found.tolist(), labels[mask].tolist(), strict=True))
    assert len(pairs) == count == len(set(found.tolist()))
