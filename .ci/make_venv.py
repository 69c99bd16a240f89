"""Make a virtual environment: ``python .ci/make_venv.py FOLDER``.

If this Python can import a torch and a torchvision that fit, as the
module of a cluster or a conda environment has them, the environment sees its packages, and torch is
not downloaded again. FOLDER/constraints.txt then keeps pip from replacing it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import venv
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
NAMES = ("torch", "torchvision")


def numbers(text: str) -> tuple[int, ...]:
    """Return the numbers of a version: 2.5.1+cu121 gives (2, 5, 1)."""
    return tuple(int(n) for n in re.findall(r"\d+", text.partition("+")[0])[:3])


def found(project: str) -> dict[str, str]:
    """Return the versions of the packages that this Python has, if all fit and can be imported."""
    versions = {}
    for name in NAMES:
        least = re.search(rf'"{name}>=([\d.]+)"', project)
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            return {}
        if least and numbers(versions[name]) < numbers(least[1]):
            return {}
    tried = [sys.executable, "-c", f"import {', '.join(NAMES)}"]
    works = subprocess.run(tried, capture_output=True, check=False).returncode == 0
    return versions if works else {}


def make(folder: Path) -> str:
    """Make the environment, and say which torch it has."""
    if sys.version_info < (3, 11):  # noqa: UP036 - any Python may run this file
        sys.exit(
            f"{sys.executable} is Python {sys.version.split()[0]}; name one from 3.11 on: PYTHON="
        )
    versions = found(PROJECT.read_text(encoding="utf-8"))
    venv.create(folder, with_pip=True, system_site_packages=bool(versions), symlinks=True)
    pins = "".join(f"{name}=={text}\n" for name, text in versions.items())
    (folder / "constraints.txt").write_text(pins, encoding="utf-8")
    if not versions:
        return f"{folder}: pip downloads torch, about 6 GB with its CUDA libraries"
    if sys.prefix != sys.base_prefix:  # of a virtual environment, only its base would be seen
        inside = Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
        (folder / inside / "outer.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return f"{folder}: takes torch {versions['torch']} of {sys.executable}"


if __name__ == "__main__":
    print(make(Path(sys.argv[1])))
