"""The wheel works away from the checkout, and holds everything."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy, so that the checkout stays clean."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignored = shutil.ignore_patterns(".*", "demo", "build", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT, source, symlinks=True, ignore=ignored)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "-w", str(folder), str(source)], check=True, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_holds_every_module_and_data_file(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {str(p.relative_to(ROOT)) for p in (ROOT / "unsam_cli").rglob("*.py")}
    expected |= {f"unsam_cli/commands/{p.name}" for p in (ROOT / "commands").glob("*.py")}
    expected |= {str(p.relative_to(ROOT)) for p in (ROOT / "unsam_cli" / "view").glob("*.[hcj]*s*")}
    expected |= {"unsam_cli/view/report.html", "unsam_cli/py.typed"}
    assert {n for n in expected if n not in names} == set()
    assert not any(n.startswith(("commands/", "tests/")) for n in names)


def take_kernels(package: Path) -> None:
    """Let an installed package find the kernels that are compiled for the checkout.

    Numba compares the time and size of a source file with those that it has noted.
    """
    for source in (ROOT / "unsam_cli").rglob("*.py"):
        installed = package / source.relative_to(ROOT / "unsam_cli")
        seen = source.stat()
        assert installed.stat().st_size == seen.st_size
        os.utime(installed, ns=(seen.st_atime_ns, seen.st_mtime_ns))
        for kernel in source.parent.glob(f"__pycache__/{source.stem}.*.nb?"):
            target = installed.parent / "__pycache__" / kernel.name
            target.parent.mkdir(exist_ok=True)
            shutil.copy(kernel, target)


@pytest.mark.slow
def test_runs_away_from_the_checkout(wheel: Path, scenes: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-compile",
        "--no-deps",
        "--target",
        str(site),
    ]
    subprocess.run([*install, str(wheel)], check=True, cwd=tmp_path)
    take_kernels(site / "unsam_cli")
    env = {**os.environ, "PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}
    program = f'"{sys.executable}" -m unsam_cli'
    line = (
        f"set -o pipefail; {program} extract-features scenes/1.png --size 96 | "
        f"{program} divide > m.json && "
        f"{program} view m.json --images . -o report.html && "
        f'"{sys.executable}" -c "import unsam_cli; print(unsam_cli.__file__)"'
    )
    ran = subprocess.run(
        ["bash", "-c", line], cwd=tmp_path, env=env, capture_output=True, check=False
    )
    assert ran.returncode == 0, ran.stderr.decode()
    assert ran.stdout.decode().strip().startswith(str(site))
    assert (tmp_path / "report.html").stat().st_size > 10_000
