"""What is bad in a file of validation costs only itself, as in the files of the training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from prompted_scenes import write_nested
from sam_models import make_sam
from support import Invoke

pytestmark = pytest.mark.torch

TINY = ["--preset", "tiny", "--jobs", "0", "--device", "cpu", "--steps", "2"]
COMMANDS = {
    "train": ["--hidden", "32", "--crop", "64"],
    "finetune-sam": ["--clicks", "4", "--points", "32", "--checkpoint", "sam"],
}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Three scenes for both, in the working folder, and the content of their masks file."""
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = json.loads(write_nested(tmp_path, range(3), side=96).read_text())
    make_sam().save_pretrained(tmp_path / "sam")
    return found


def options_of(command: str, truth: str) -> list[str]:
    """Words of a training that is validated on the folder `others`."""
    options = [command, "masks.json", "--images", "images", *TINY, *COMMANDS[command]]
    return [*options, "--validate", truth, "--validate-images", "others", "--validate-every", "1"]


@pytest.mark.parametrize("command", COMMANDS)
def test_bad_records_of_validation(command: str, data: dict[str, Any], invoke: Invoke) -> None:
    shutil.copytree("images", "others")
    Path("others/1.png").write_bytes(b"\x89PNG but damaged")
    Path("others/2.png").unlink()
    first = data["annotations"][0]
    first["segmentation"] = {"size": [96, 96], "counts": "zzz"}
    data["annotations"].append({**data["annotations"][1], "id": 999, "image_id": 77})
    Path("truth.json").write_text(json.dumps(data))
    options = options_of(command, "truth.json")
    assert invoke(*options, "-o", "stopped").exit_code in (65, 66)
    ran = invoke(*options, "-o", "run", "--on-error", "skip")
    assert ran.exit_code == 3, ran.stderr
    text = Path("run.errors.jsonl").read_text()
    listed = [json.loads(line) for line in text.splitlines()]
    assert sorted((e["file_name"], e.get("annotation_id")) for e in listed) == [
        ("0.png", first["id"]),
        ("1.png", None),
        ("2.png", None),
        ("77", 999),
    ]
    assert "validation: " in ran.stderr
    assert invoke(*options, "-o", "run", "--on-error", "skip", "--resume").exit_code == 3
    assert Path("run.errors.jsonl").read_text() == text


@pytest.mark.parametrize("command", COMMANDS)
def test_a_validation_without_a_good_image_ends(
    command: str, data: dict[str, Any], invoke: Invoke
) -> None:
    Path("others").mkdir()
    options = options_of(command, "masks.json")
    options += ["--on-error", "skip"]
    assert invoke(*options, "-o", "run").exit_code == 66
    for name in ("0", "1", "2"):
        Path(f"others/{name}.png").write_bytes(b"\x89PNG but damaged")
    ran = invoke(*options, "-o", "run")
    assert ran.exit_code == 65
    assert "others/2.png: " in ran.stderr


def test_strays_of_the_training_are_listed(
    data: dict[str, Any], tmp_path: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data["annotations"].append({**data["annotations"][1], "id": 999, "image_id": 77})
    Path("masks.json").write_text(json.dumps(data))
    for command, more in COMMANDS.items():
        options = [command, "masks.json", "--images", "images", *TINY, *more]
        ran = invoke(*options, "-o", f"{command}.run", "--on-error", "skip")
        assert ran.exit_code == 3, ran.stderr
        listed = json.loads(Path(f"{command}.run.errors.jsonl").read_text())
        assert (listed["file_name"], listed["stage"]) == ("77", command)
        assert "image 77 is not among the images" in listed["error"]
