"""Convert float16 to float32, several times faster than numpy, and check for finite values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unsam_cli.jit import kernel


def widen(array: NDArray[np.floating[Any]]) -> tuple[NDArray[np.float32], bool]:
    """Convert an array, and check whether all its numbers are finite.

    Parameters
    ----------
    array : (...) float16 or float32
        Numbers in native byte order.

    Returns
    -------
    (...) float32, bool
        The same numbers, exact if they are finite; and whether all of them are finite.
    """
    if array.dtype != np.float16:
        same = np.ascontiguousarray(array, dtype=np.float32)
        return same, bool(np.isfinite(same).all())
    halves = np.ascontiguousarray(array).view(np.uint16).ravel()
    bits = np.empty(len(halves), dtype=np.uint32)
    largest = _spread(halves, bits)
    # After spreading, exponents are too small by 112, also those of subnormal numbers.
    numbers = bits.view(np.float32)
    numbers *= np.float32(2.0**112)
    return numbers.reshape(array.shape), largest < 0x7C00


@kernel()
def _spread(halves: NDArray[np.uint16], bits: NDArray[np.uint32]) -> int:
    """Move sign, exponent and mantissa to their place in float32; return the largest magnitude."""
    largest = np.uint16(0)
    for i in range(len(halves)):
        magnitude = halves[i] & np.uint16(0x7FFF)
        largest = max(largest, magnitude)
        sign = np.uint32(halves[i] & np.uint16(0x8000)) << np.uint32(16)
        bits[i] = sign | (np.uint32(magnitude) << np.uint32(13))
    return int(largest)
