"""Files from strangers: what they can do to a terminal, and which files they may point to.

What single readers refuse is tested where they are: lying headers in ``io/test_features_file.py``,
sizes and runs in ``rle/``, code in checkpoints in ``backbones/``, ``sam/`` and ``models/``, names
that climb out in ``convert/`` and ``io/``, markup in ``view/``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from support import Invoke

EVIL = "a\x1b]0;owned\x07\n\x9b31m.png"


@pytest.fixture
def features(tmp_path: Path, invoke: Invoke) -> Path:
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(tmp_path / "a.png")
    path = tmp_path / "features.h5"
    ran = invoke("extract-features", tmp_path / "a.png", "--size", 64, "-o", path)
    assert ran.exit_code == 0, ran.stderr
    return path


def test_names_cannot_reach_the_terminal(tmp_path: Path, invoke: Invoke) -> None:
    """Neither codes, of seven bits or eight, nor a second line that looks like one of ours."""
    images = [{"id": 1, "file_name": EVIL, "height": 5, "width": 6}]
    (tmp_path / "m.json").write_text(json.dumps({"images": images, "annotations": []}))
    ran = invoke("view", tmp_path / "m.json", "--images", tmp_path, "-o", tmp_path / "r.html")
    assert ran.exit_code == 66
    assert "owned" in ran.stderr
    assert all(line.isprintable() for line in ran.stderr.splitlines())
    assert sum("error:" in line for line in ran.stderr.splitlines()) == 1


def linked(file: h5py.File) -> None:
    del file["features"]
    file["features"] = h5py.ExternalLink("/etc/passwd", "x")


def stored_elsewhere(file: h5py.File) -> None:
    shape, kind = file["features"].shape, file["features"].dtype
    del file["features"]
    file.create_dataset("features", shape, kind, external=[("/dev/zero", 0, 2**40)])


def virtual(file: h5py.File) -> None:
    shape, kind = file["features"].shape, file["features"].dtype
    del file["features"]
    layout = h5py.VirtualLayout(shape, kind)
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", shape)
    file.create_virtual_dataset("features", layout)


@pytest.mark.parametrize("change", [linked, stored_elsewhere, virtual])
def test_features_come_from_the_file_alone(
    change: Callable[[h5py.File], None], features: Path, tmp_path: Path, invoke: Invoke
) -> None:
    with h5py.File(features, "r+") as file:
        change(file)
    ran = invoke("conquer", features, "-o", tmp_path / "masks.json")
    assert ran.exit_code == 65
    assert "run extract-features again" in ran.stderr
    assert not (tmp_path / "masks.json").exists()
