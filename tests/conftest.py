"""Synthetic scenes with known answers, and ways to run commands."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from unsam_cli.cli import cli

Invoke = Callable[..., Result]
RunProgram = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture(autouse=True)
def _no_ambient_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith(("UNSAM_", "SLURM_"))]:
        monkeypatch.delenv(name)


def draw_scene(seed: int = 0, height: int = 96, width: int = 128) -> npt.NDArray[np.uint8]:
    """Draw a red disc and a blue box with a yellow part on green, a little noisy; RGB uint8."""
    rng = np.random.default_rng(seed)
    rgb = np.empty((height, width, 3))
    rgb[:] = (60, 140, 60)
    y, x = np.mgrid[:height, :width]
    cy, cx, r = height * 0.4, width * (0.25 + 0.02 * seed), height * 0.28
    rgb[(y - cy) ** 2 + (x - cx) ** 2 < r**2] = (200, 40, 40)
    top, left = int(height * 0.3), int(width * 0.6)
    rgb[top : int(height * 0.9), left : int(width * 0.9)] = (40, 60, 190)
    rgb[top + 4 : top + height // 4, left + 4 : left + width // 6] = (230, 210, 50)
    rgb += rng.normal(0, 4, rgb.shape)
    return np.clip(rgb, 0, 255).astype(np.uint8)


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
    """Run a command line in a shell with ``unsam`` as a command, in the test's folder."""

    def run(
        line: str, *, stdin: bytes = b"", timeout: float = 120, cwd: Path = tmp_path, **env: str
    ) -> subprocess.CompletedProcess[bytes]:
        script = f'unsam() {{ "{sys.executable}" -m unsam_cli "$@"; }}\nset -o pipefail\n{line}'
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
