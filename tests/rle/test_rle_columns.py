"""Repeated columns: as if the pixels were repeated."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from unsam_cli import rle

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12))


@given(mask=MASKS, x=st.integers(0, 3), data=st.data())
def test_columns_are_those_of_repeated_pixels(
    mask: NDArray[np.bool_], x: int, data: st.DataObject
) -> None:
    height, width = mask.shape
    times = data.draw(st.lists(st.integers(0, 4), min_size=width, max_size=width))
    columns = np.repeat(np.arange(width), times)
    runs = rle.repeated(rle.encode(mask), columns, x)
    assert runs.dtype == np.int32
    wide = np.zeros((height, x + len(columns) + 1), dtype=np.bool_)
    wide[:, x : x + len(columns)] = mask[:, columns]
    assert rle.from_runs(runs, wide.shape) == rle.encode(wide)
    assert (runs[1:, 0] > runs[:-1, 1]).all()  # they do not touch


def test_damage_is_told() -> None:
    with pytest.raises(ValueError, match="less than the image's 4 pixels"):
        rle.repeated({"size": [2, 2], "counts": b"1"}, np.zeros(3, dtype=np.int64), 0)
