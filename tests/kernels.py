"""What processes of the tests need not do: compile kernels that others compile, wait for disks.

Kernels are compiled once: of several processes one compiles a kernel, and the others load it.
Without this, all processes that need a kernel compile it at once, and all but one in vain.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from pathlib import Path
from typing import Any

from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import Dispatcher


def trust_the_disk() -> None:
    """Wait for no file to be on the disk: no test takes the power away."""
    os.fsync = os.fstat  # type: ignore[assignment]  # refuses a closed file, too


def compile_once() -> None:
    """Let processes that call this wait for each other's kernels."""
    folder = Path(tempfile.gettempdir(), f"unsam-kernels-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    compile_or_load = Dispatcher.compile
    held: set[str] = set()

    def compile_locked(kernel: Any, signature: Any) -> Any:
        name = f"{kernel.py_func.__module__}.{kernel.py_func.__qualname__}"
        # Numba's own lock comes first. So a process waits only for kernels that the one it has
        # begun calls, and no two processes wait for each other.
        with global_compiler_lock, contextlib.ExitStack() as stack:
            if name not in held:
                with contextlib.suppress(OSError):  # no more files may be opened
                    # Not flock, which a forked worker would hold, too.
                    fcntl.lockf(stack.enter_context(open(folder / name, "w")), fcntl.LOCK_EX)
                held.add(name)
                stack.callback(held.discard, name)
            return compile_or_load(kernel, signature)

    Dispatcher.compile = compile_locked  # type: ignore[assignment, method-assign]
