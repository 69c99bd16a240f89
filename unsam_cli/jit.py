"""Numba's compiler, set up once: cached on disk where that is possible, free of the GIL.

Kernels release the GIL, so ``--jobs`` can be threads that share memory. Compiled code is kept
beside the module, or in ``NUMBA_CACHE_DIR``; where neither can be written it is compiled in each
process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])


def kernel(*, fastmath: bool = False) -> Callable[[F], F]:
    """Compile a function with numba in nopython mode, ``nogil`` and cached on disk.

    Parameters
    ----------
    fastmath : bool
        Let the compiler reorder floating-point sums, which vectorises reductions. Only for kernels
        whose result does not depend on the last bits.
    """

    def decorate(function: F) -> F:
        try:
            compiled: F = numba.njit(cache=True, nogil=True, fastmath=fastmath)(function)
        except RuntimeError:  # numba: "no locator available", nowhere to write the cache
            compiled = numba.njit(nogil=True, fastmath=fastmath)(function)
        return compiled

    return decorate
