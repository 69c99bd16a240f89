"""Numba's compiler, set up once: cached on disk where that is possible, free of the GIL.

Kernels release the GIL, so ``--jobs`` can be threads that share memory. Compiled code is kept
beside the module, or in ``NUMBA_CACHE_DIR``; where neither can be written it is compiled in each
process.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast

from unsam_cli.errors import UsageError

try:
    with warnings.catch_warnings():
        # Numba would take a default instead of what it cannot read, and warn in ten lines.
        warnings.filterwarnings("error", "Environment variable", RuntimeWarning)
        import numba
        from numba.core import event
        from numba.core.caching import FunctionCache
        from numba.core.runtime import rtsys
except (ValueError, RuntimeWarning) as e:
    names = ", ".join(sorted(name for name in os.environ if name.startswith("NUMBA_")))
    reason = str(e).splitlines()[0]
    raise UsageError(f"{names}: {reason}; correct or unset the variable") from e

F = TypeVar("F", bound=Callable[..., Any])

# Shown by default, as progress is; `run/progress.py` has the name, too, but this file is below it.
logger = logging.getLogger("unsam_cli.progress")


class Notice(event.Listener):  # type: ignore[misc]
    """Tell a person at a terminal, once, why a first run is slow; caches are read without it."""

    told = False

    def on_start(self, _: event.Event) -> None:
        """Write the line."""
        if not self.told and sys.stderr.isatty():
            logger.info("compiling kernels, once per installation or update: up to a minute")
            self.told = True

    def on_end(self, _: event.Event) -> None:
        """Nothing remains to be said."""


event.register("numba:compile", Notice())


class _KernelCache(FunctionCache):  # type: ignore[misc]
    """Loads compiled kernels without what only compiling needs.

    Numba's own cache first imports all functions that numba can compile, scipy among them, which
    takes longer than to load all kernels of a command. The compiler imports them itself.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the kernel for a signature, or None if it is not on the disk."""
        rtsys.initialize(target_context)
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)


def kernel(*, fastmath: bool = False, checked: bool = True) -> Callable[[F], F]:
    """Compile a function with numba in nopython mode, ``nogil`` and cached on disk.

    Elements are assigned one by one: for ``a[i] = x, y`` or ``a[:n] = b`` numba compiles a message
    about shapes that do not fit, which takes 2 s in each process. A start value that is handed to
    other kernels is ``int(np.int64(0))``: 0 is a type of its own, for which they would be compiled
    once more. Searching, sorting and joining of arrays, and unpacking their rows, take long, too.

    Parameters
    ----------
    fastmath : bool
        Let the compiler reorder floating-point sums, which vectorises reductions. Only for kernels
        whose result does not depend on the last bits.
    checked : bool
        Let a division by zero raise an error, as Python does. The check keeps loops with divisions
        from being vectorised; without it, the result is infinite or NaN.
    """
    options = {
        "nogil": True,
        "no_cfunc_wrapper": True,  # for callers in C, of which there are none
        "fastmath": fastmath,
        "error_model": "python" if checked else "numpy",
    }

    def decorate(function: F) -> F:
        compiled = numba.njit(**options)(function)
        with contextlib.suppress(RuntimeError):  # "no locator available": nowhere to write it
            compiled._cache = _KernelCache(function)
        return cast(F, compiled)

    return decorate
