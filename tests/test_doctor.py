from __future__ import annotations

import builtins
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from unsam_cli import __version__, doctor
from unsam_cli.doctor import Finding, as_json, examine
from unsam_cli.run.resources import usable_cpus


def by_topic(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.topic: finding for finding in findings}


def test_quick_examination_of_this_machine() -> None:
    findings = examine(full=False)
    found = by_topic(findings)
    assert found["unsam"].status == "ok"
    assert found["unsam"].text.startswith(__version__)
    assert found["numpy"] == Finding("numpy", "ok", importlib.metadata.version("numpy"))
    assert found["CPUs"].text.startswith(f"{usable_cpus()} usable")
    assert {"python", "commands", "HDF5", "HF_HOME", "TORCH_HOME", "NUMBA_CACHE_DIR"} <= set(found)
    assert all(finding.status in ("ok", "note", "missing") for finding in findings)
    assert all("\n" not in finding.text and finding.text for finding in findings)
    told = json.loads(as_json(findings))
    assert told[0] == {"topic": "unsam", "status": "ok", "text": found["unsam"].text}


def test_all_dependencies_are_known() -> None:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]

    def names(requirements: list[str]) -> set[str]:
        return {re.split(r"[\[><=;]", r)[0] for r in requirements}

    assert set(doctor.NEEDED) == names(project["dependencies"])
    extras = project["optional-dependencies"]
    assert names(extras["plot"] + extras["tensorboard"]) <= set(doctor.OPTIONAL)


def test_quick_examination_imports_nothing_heavy() -> None:
    code = (
        "import sys; from unsam_cli.doctor import examine; examine(full=False);"
        "sys.exit(', '.join({'torch', 'timm', 'transformers'} & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.torch
def test_full_examination_measures_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    rates = {"float32": 123e9, "bfloat16": 4567e9}
    fake = SimpleNamespace(matmul_rate=lambda dtype, device: rates[dtype])
    monkeypatch.setitem(sys.modules, "unsam_cli.backbones.speed", fake)
    findings = examine()
    speeds = [finding.text for finding in findings if finding.topic == "speed, cpu"]
    assert speeds == [
        "123 GFLOP/s of float32 matrix products",
        "4,567 GFLOP/s of bfloat16 matrix products",
    ]
    assert by_topic(findings)["torch threads"].status == "ok"


def test_survives_the_absence_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name == "torch":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)

    def no_speed(dtype: str, device: str) -> float:
        raise ImportError("bfloat16 needs torch")

    fake = SimpleNamespace(matmul_rate=no_speed)
    monkeypatch.setitem(sys.modules, "unsam_cli.backbones.speed", fake)
    found = by_topic(examine())
    assert found["torch"].status == "missing"
    assert "pip install torch" in found["torch"].text
    assert found["devices"].status == "missing"
    assert "torch" in found["devices"].text
    assert found["speed, cpu"] == Finding(
        "speed, cpu", "missing", "ImportError: bfloat16 needs torch"
    )
    assert found["temporary files"].status in ("ok", "note")


@pytest.mark.parametrize("name", ["_program", "_packages", "_processors", "_hdf5", "_caches"])
def test_a_failing_probe_is_reported_and_the_others_go_on(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    healthy = {finding.topic for finding in examine(full=False)}

    def probe() -> Iterator[Finding]:
        yield Finding("first", "ok", "before the error")
        raise RuntimeError("two\nlines")

    own = {finding.topic for finding in getattr(doctor, name)()}
    monkeypatch.setattr(doctor, name, probe)
    findings = examine(full=False)
    assert "RuntimeError: two lines" in [finding.text for finding in findings]
    assert {finding.topic for finding in findings} >= (healthy - own) | {"first"}


def test_a_library_that_cannot_be_loaded_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "h5py":
            raise OSError("libhdf5.so: cannot open shared object file")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    found = by_topic(examine(full=False))["HDF5"]
    assert found.status == "missing"
    assert found.text == "OSError: libhdf5.so: cannot open shared object file"


def test_optional_parts_say_what_they_are_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "OPTIONAL", {"no-such-package": "magic"})
    found = by_topic(examine(full=False))["no-such-package"]
    assert (found.status, found.text) == ("note", "not installed; only needed for magic")


def test_caches_follow_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HF_HOME", str(tmp_path / "not" / "yet"))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HDF5_USE_FILE_LOCKING", "FALSE")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    found = by_topic(examine(full=False))
    assert (found["HF_HOME"].status, found["HF_HOME"].text) == ("ok", str(tmp_path / "not" / "yet"))
    assert found["NUMBA_CACHE_DIR"].status == "note"
    assert "cannot be written: each process compiles the kernels" in found["NUMBA_CACHE_DIR"].text
    assert found["HF_HUB_OFFLINE"].status == "note"
    assert found["HDF5_USE_FILE_LOCKING"].text == "set to FALSE"
    assert "OMP_NUM_THREADS=3" in [
        finding.text for finding in examine(full=False) if finding.topic == "threads"
    ]


def test_little_room_for_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=2**30))
    found = by_topic(examine(full=False))["temporary files"]
    assert found.status == "note"
    assert found.text.startswith("1.0 GiB free in ")
    assert "TMPDIR" in found.text
