"""The accelerator's path of ``divide``, run on the CPU: same masks, same order, errors in place."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from support import Invoke

from unsam_cli.divide import stage

pytestmark = pytest.mark.torch


def test_batches_give_the_masks_of_single_images(
    scenes: Path, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = tmp_path / "f.h5"
    invoke("extract-features", scenes, "--size", 256, "-o", features)
    single = json.loads(invoke("divide", features).stdout)
    monkeypatch.setattr(stage, "accelerator", lambda name: "cpu")
    ran = invoke("divide", features, "--batch-size", "2")
    assert ran.exit_code == 0, ran.stderr
    batched = json.loads(ran.stdout)
    assert batched["info"] == single["info"]
    assert [i["id"] for i in batched["images"]] == [1, 2, 3, 4, 5]
    assert [a["segmentation"] for a in batched["annotations"]] == [
        a["segmentation"] for a in single["annotations"]
    ]


def test_a_bad_record_is_skipped_in_its_place(
    scenes: Path, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = tmp_path / "f.h5"
    invoke("extract-features", scenes, "--size", 256, "-o", features)
    with h5py.File(features, "r+") as file:
        file["features"][file["regions/offset"][1], 0] = np.nan
    monkeypatch.setattr(stage, "accelerator", lambda name: "cpu")
    ran = invoke("divide", features, "--on-error", "skip")
    assert ran.exit_code == 3
    assert "skipped 2.png" in ran.stderr
    assert [i["id"] for i in json.loads(ran.stdout)["images"]] == [1, 3, 4, 5]


def test_an_unknown_device_is_refused(scenes: Path, invoke: Invoke, tmp_path: Path) -> None:
    features = tmp_path / "f.h5"
    invoke("extract-features", scenes, "--size", 256, "-o", features)
    ran = invoke("divide", features, "--device", "abacus")
    assert ran.exit_code == 2
    assert "abacus" in ran.stderr
