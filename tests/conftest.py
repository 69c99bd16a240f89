"""Synthetic scenes with known answers, and ways to run commands."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import warm
from click.testing import CliRunner, Result
from hypothesis import settings
from kernels import compile_once, trust_the_disk
from PIL import Image
from support import Invoke, RunProgram, draw_scene

from unsam_cli.cli import cli
from unsam_cli.run.progress import LineReporter

# The first example of a property may compile kernels: no deadline is fair.
settings.register_profile("compiled", deadline=None)
settings.load_profile("compiled")


# Shells start background jobs with SIGINT ignored, and programs of the tests would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


# Programs write through a buffer, as those of most users do: it hides errors until the end. Taken
# away before the server of warm programs starts, whose streams they inherit.
os.environ.pop("PYTHONUNBUFFERED", None)

compile_once()
trust_the_disk()

# transformers compiles hundreds of patterns for each network that it loads. Python remembers 512.
re._MAXCACHE = 1 << 14  # type: ignore[attr-defined]


def pytest_configure(config: pytest.Config) -> None:
    """Hold the server of warm programs, which all workers share."""
    if not hasattr(config, "workerinput"):
        warm.hold()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let files with slow tests come first, lest one process waits for them alone at the end.

    Two of them need most kernels: while one process compiles these for test_faults, the other one
    has other work, and comes to test_kinds later.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, item.path.name == "test_kinds.py"))


@pytest.fixture(autouse=True)
def _own_log_levels() -> None:
    """Take back what a command in this process, or a fixture of a module, said of our loggers."""
    for name in ("unsam_cli", LineReporter.logger_name):
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.fixture(autouse=True)
def _no_ambient_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith(("UNSAM_", "SLURM_"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Return a folder of five scenes, 1.png to 5.png, one of them in a folder of its own."""
    folder = tmp_path / "scenes"
    (folder / "more").mkdir(parents=True)
    for i, name in enumerate(["1.png", "2.png", "3.png", "4.png", "more/5.png"]):
        Image.fromarray(draw_scene(i)).save(folder / name)
    return folder


@pytest.fixture
def invoke() -> Invoke:
    """Run a command in this process through the root group; stdout and stderr apart."""

    def run(*args: object, stdin: bytes | None = None, **env: str) -> Result:
        return CliRunner().invoke(cli, [str(a) for a in args], input=stdin, env=env)

    return run


@pytest.fixture
def program(tmp_path: Path) -> RunProgram:
    """Run a command line in a shell with ``unsam`` as a command, in the test's folder.

    It starts warm, see :mod:`warm`, except with `cold`.
    """

    def run(
        line: str,
        *,
        stdin: bytes = b"",
        timeout: float = 120,
        cwd: Path = tmp_path,
        cold: bool = False,
        **env: str,
    ) -> subprocess.CompletedProcess[bytes]:
        words = f'"{sys.executable}" -m unsam_cli' if cold else warm.command()
        script = f'unsam() {{ {words} "$@"; }}\nset -o pipefail\n{line}'
        return subprocess.run(
            ["bash", "-c", script],
            input=stdin,
            capture_output=True,
            timeout=timeout,
            cwd=cwd,
            env={**os.environ, **env},
            check=False,
        )

    return run
