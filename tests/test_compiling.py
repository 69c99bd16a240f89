"""What is compiled before a first run is all that the run needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from support import Invoke, draw_scene

from unsam_cli import compiling

SCRIPT = """
import os, sys
from numba.core.dispatcher import Dispatcher
from unsam_cli.cli import cli
from unsam_cli.compiling import HALVES, draw
from pathlib import Path

needed, needs = [], Dispatcher.compile

def noticed(kernel, types):
    needed.append((kernel.py_func.__module__, kernel.py_func.__qualname__, str(types)))
    return needs(kernel, types)

def run(*words):
    try:
        cli([*words, "-q"])
    except SystemExit as end:
        assert not end.code, words

Dispatcher.compile = noticed
ahead = Path("ahead")
ahead.mkdir()
draw(ahead)
os.chdir(ahead)
for first, second in HALVES:
    run(*first, "-o", "features.h5")
    run(second[0], "features.h5", *second[1:])
os.chdir("..")
print(len(needed))
needed.clear()
run("extract-features", "scene.jpg", "-o", "whole.h5")
run("divide", "whole.h5", "-o", "objects.json")
run("extract-features", "scene.jpg", "--regions", "objects.json", "--whole-image", "-o", "h5")
run("conquer", "h5", "-o", "masks.json")
print(*needed, sep="\\n")
"""


@pytest.mark.slow
def test_the_pipe_needs_no_kernel_that_was_not_compiled_ahead(tmp_path: Path) -> None:
    """Seen in one process, which remembers what it has loaded or compiled."""
    Image.fromarray(draw_scene(3, 240, 320)).save(tmp_path / "scene.jpg")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    count, *more = done.stdout.split("\n")
    assert int(count) > 40
    assert [line for line in more if line] == []


@pytest.mark.slow
def test_doctor_compiles_whatever_the_defaults(invoke: Invoke) -> None:
    done = invoke("doctor", "--compile", UNSAM_EXTRACT_FEATURES_BACKBONE="none")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("ok       kernels  those of the pipe are compiled")


def test_doctor_says_why_it_could_not_compile(
    monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    half = (["extract-features", "nothing.jpg"], ["info", "-"])
    monkeypatch.setattr(compiling, "HALVES", (half,))
    done = invoke("doctor", "--compile")
    assert done.exit_code == 0
    assert done.stdout.startswith("missing  kernels  ")
    assert "nothing.jpg" in done.stdout
