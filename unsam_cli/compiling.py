"""Compile the kernels of the pipe before a first run needs them, by running it once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from unsam_cli.doctor import Finding

_SIDES = 200, 150  # width and height of the picture
_REGION = [20, 10, 120, 10, 120, 90, 20, 90]
_EXTRACT = ["extract-features", "picture.jpg"]
HALVES = (
    (_EXTRACT, ["divide", "-o", "objects.json"]),
    (
        [*_EXTRACT, "--regions", "region.json", "--whole-image"],
        ["conquer", "-o", "parts.json"],
    ),
)
"""Halves of the pipe that do not wait for each other: the second has its region from a file."""


def compile_pipe() -> list[Finding]:
    """Run the pipe with default options on a small drawn picture, in four processes.

    So no list of kernels and their types has to be kept. Those that are compiled already are only
    loaded.
    """
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="unsam-compile-") as name:
        folder = Path(name)
        draw(folder)
        running = [process for half in HALVES for process in _start(half, folder)]
        said = [process.communicate()[1].decode().strip() for process in running]
        failed = [text for process, text in zip(running, said, strict=True) if process.returncode]
    if failed:
        return [Finding("kernels", "missing", failed[0].rpartition("\n")[2] or "no message")]
    seconds = time.monotonic() - start
    return [Finding("kernels", "ok", f"those of the pipe are compiled; it took {seconds:.0f} s")]


def draw(folder: Path) -> None:
    """Write the picture and the file with the region."""
    import numpy as np
    from PIL import Image, ImageDraw

    noise = np.random.default_rng(0).normal(0, 12, (_SIDES[1], _SIDES[0], 3))
    picture = Image.new("RGB", _SIDES, (60, 120, 60))
    pen = ImageDraw.Draw(picture)
    pen.ellipse((30, 20, 110, 80), (200, 60, 40))
    pen.ellipse((50, 30, 80, 60), (230, 200, 60))
    pen.rectangle((120, 70, 180, 130), (40, 70, 200))
    pixels = np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(folder / "picture.jpg")
    image = {"id": 1, "file_name": "picture.jpg", "width": _SIDES[0], "height": _SIDES[1]}
    mask = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [_REGION]}
    region = {"images": [image], "annotations": [mask], "categories": [{"id": 1, "name": "entity"}]}
    (folder / "region.json").write_text(json.dumps(region), encoding="utf-8")


def _start(half: tuple[list[str], list[str]], folder: Path) -> list[subprocess.Popen[bytes]]:
    """Start two commands, the first of which writes to the second; both with default options."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("UNSAM_")}
    begin = [sys.executable, "-m", "unsam_cli"]
    common: dict[str, Any] = {"cwd": folder, "env": environment, "stderr": subprocess.PIPE}
    first = subprocess.Popen([*begin, *half[0], "-q"], stdout=subprocess.PIPE, **common)
    second = subprocess.Popen([*begin, *half[1], "-q"], stdin=first.stdout, **common)
    assert first.stdout is not None
    first.stdout.close()  # it ends when the second one does
    first.stdout = None
    return [first, second]
