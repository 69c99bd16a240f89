"""Kernels that come from the disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ENCODE = """
import sys
import numpy as np
from numba.core import event
from unsam_cli.rle import runs

compiled = event.RecordingListener()
event.register("numba:compile", compiled)
text = np.zeros(30, dtype=np.uint8)
"""
ALL = 'length = runs.write(np.array([[3, 9]]), 10, text)\nassert bytes(text[:length]) == b"361"\n'
PART = "assert runs._write_count(3, text, 0) == 1\n"
TELL = """
heavy = "scipy.linalg", "numba.np.arraymath"
print(len(compiled.buffer), *(name in sys.modules for name in heavy))
"""


def told(script: str, folder: Path) -> list[str]:
    """Run a script with the kernels of a folder, and return the words that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"NUMBA_CACHE_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.slow
def test_a_kernel_comes_from_the_disk_without_what_compiles_it(tmp_path: Path) -> None:
    """Numba's own cache imports scipy and its library of typed functions before it loads one."""
    events, *imported = told(ENCODE + ALL + TELL, tmp_path)
    assert int(events) >= 4
    assert imported == ["True", "True"]
    assert told(ENCODE + ALL + TELL, tmp_path) == ["0", "False", "False"]


@pytest.mark.slow
def test_a_kernel_that_is_compiled_may_call_one_from_the_disk(tmp_path: Path) -> None:
    """The compiler fetches what the loader left out."""
    assert told(ENCODE + PART + TELL, tmp_path)[0] == "2"
    events = int(told(ENCODE + PART + ALL + TELL, tmp_path)[0])
    assert 0 < events < int(told(ENCODE + ALL + TELL, tmp_path / "other")[0])
