"""`make` uses an installed torch, and does not download another one."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci" / "make_venv.py"


@pytest.mark.parametrize(
    ("torch", "source", "taken"),
    [("2.6.0+cu124", "", True), ("2.1.0", "", False), ("2.6.0", "raise ImportError", False)],
)
def test_a_torch_that_fits_and_works_is_taken(
    torch: str, source: str, taken: bool, tmp_path: Path
) -> None:
    outer, inner = tmp_path / "outer", tmp_path / "inner"
    venv.create(outer, with_pip=False, symlinks=True)
    inside = Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    for name, version in [("torch", torch), ("torchvision", "0.21.0")]:
        (outer / inside / f"{name}.py").write_text(source)
        info = outer / inside / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    # without pip, whose installation takes seconds
    code = (
        "import runpy, sys, venv; plain = venv.create;"
        "venv.create = lambda folder, **o: plain(folder, **{**o, 'with_pip': False});"
        f"sys.argv = ['make_venv.py', {str(inner)!r}];"
        f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    )
    ran = subprocess.run(
        [outer / "bin" / "python", "-I", "-c", code], capture_output=True, text=True, check=True
    )
    assert (f"takes torch {torch} of" in ran.stdout) == taken
    assert ("pip downloads torch" in ran.stdout) != taken
    pins = (inner / "constraints.txt").read_text()
    assert pins == (f"torch=={torch}\ntorchvision==0.21.0\n" if taken else "")
    seen = subprocess.run(
        [inner / "bin" / "python", "-I", "-c", "import torch"], capture_output=True
    )
    assert (seen.returncode == 0) == taken
