from __future__ import annotations

import numpy as np

from unsam_cli.io.half import widen


def test_every_float16_is_converted_exactly() -> None:
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)]
    widened, ok = widen(finite.reshape(2, -1))
    assert ok
    assert widened.dtype == np.float32
    np.testing.assert_array_equal(widened.ravel(), finite.astype(np.float32))
    assert (np.signbit(widened.ravel()) == np.signbit(finite)).all()


def test_what_is_not_finite_is_noticed() -> None:
    for bad in (np.nan, np.inf, -np.inf):
        for kind in (np.float16, np.float32):
            array = np.ones((3, 4, 5), kind)
            assert widen(array)[1]
            array[1, 2, 3] = bad
            assert not widen(array)[1]


def test_strides_and_empty_arrays() -> None:
    array = np.arange(24, dtype=np.float16).reshape(4, 6)
    np.testing.assert_array_equal(widen(array[:, ::2])[0], array[:, ::2].astype(np.float32))
    assert widen(array[:0])[0].shape == (0, 6)
