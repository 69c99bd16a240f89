"""A private Slurm, and a folder to submit jobs from."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from slurm.cluster import Cluster, reason_against
from slurm.site import Site

# Stands for `unsam` in jobs: as slow as SLOW says (seconds an image), with lines of progress to
# match. Nothing else about it differs.
_SLOW_UNSAM = """\
import os, time
from unsam_cli.cli import main
from unsam_cli.run import progress

progress.INTERVAL = 0.5
advance = progress.LineReporter.advance

def slowly(self, skipped=False):
    time.sleep(float(os.environ.get("SLOW", "0")))
    advance(self, skipped)

progress.LineReporter.advance = slowly
main()
"""


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Start a cluster; skip where that is impossible, or fail under REQUIRE_SLURM."""
    give_up = pytest.fail if os.environ.get("REQUIRE_SLURM") else pytest.skip
    if reason := reason_against():
        give_up(reason)
    with ExitStack() as stack:
        # Not pytest's folder: the path of a socket is at most 107 characters long.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slurm-")))
        try:
            started = stack.enter_context(Cluster(folder))
        except TimeoutError as e:
            give_up(f"the cluster does not start: {e}")
        yield started


@pytest.fixture
def site(cluster: Cluster, scenes: Path, tmp_path: Path) -> Iterator[Site]:
    """Return a folder with five scenes in it, from which jobs are submitted."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "slow_unsam.py").write_text(_SLOW_UNSAM)
    unsam = programs / "unsam"
    unsam.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{programs}/slow_unsam.py" "$@"\n')
    unsam.chmod(0o755)
    yield Site(cluster, tmp_path)
    cluster.clear()
