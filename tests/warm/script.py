"""Runs a file, as ``python FILE`` does: ``python -m warm.script FILE [WORDS...]``."""

from __future__ import annotations

import runpy
import sys

if __name__ == "__main__":
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
