from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import Invoke, draw_scene

from unsam_cli.rle import encode


@pytest.fixture
def masks(scenes: Path, tmp_path: Path) -> Path:
    """Return masks for two of the scenes: a whole with a part, and nothing."""
    whole, part = np.zeros((96, 128), bool), np.zeros((96, 128), bool)
    whole[10:60, 20:80], part[20:40, 30:50] = True, True
    annotations = [
        {
            "id": i,
            "image_id": 1,
            "category_id": 1,
            "segmentation": {**(rle := encode(mask)), "counts": rle["counts"].decode()},
            "parent_id": parent,
        }
        for i, mask, parent in [(7, whole, None), (8, part, 7)]
    ]
    images = [
        {"id": i, "file_name": name, "height": 96, "width": 128}
        for i, name in [(1, "1.png"), (2, "more/5.png")]
    ]
    path = tmp_path / "masks.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": []}))
    return path


def test_report_and_overlays(masks: Path, scenes: Path, invoke: Invoke, tmp_path: Path) -> None:
    report, overlays = tmp_path / "report.html", tmp_path / "overlays"
    ran = invoke("view", masks, "--images", scenes, "-o", report, "--overlays", overlays)
    assert ran.exit_code == 0, ran.stderr
    assert "more/5.png" in report.read_text()
    before, after = (np.asarray(Image.open(f / "1.png")) for f in (scenes, overlays))
    changed = (before != after).any(axis=2)
    assert changed[12:58, 22:78].all()
    assert not changed[62:].any()
    assert (overlays / "more" / "5.png").exists()


def test_depth_draws_wholes_only(masks: Path, scenes: Path, invoke: Invoke, tmp_path: Path) -> None:
    def overlay(folder: str, *arguments: str) -> np.ndarray:
        ran = invoke("view", masks, "--images", scenes, "--overlays", tmp_path / folder, *arguments)
        assert (ran.exit_code, ran.stdout) == (0, "")
        return np.asarray(Image.open(tmp_path / folder / "1.png"))

    everything, wholes = overlay("all"), overlay("wholes", "--depth", "0")
    differs = (everything != wholes).any(axis=2)
    assert differs[22:38, 32:48].all()
    assert not differs[62:].any()


def test_masks_from_stdin_to_stdout(masks: Path, scenes: Path, invoke: Invoke) -> None:
    ran = invoke("view", "-", "--images", scenes, stdin=masks.read_bytes())
    assert ran.exit_code == 0, ran.stderr
    assert ran.stdout.startswith("<!doctype html>") or ran.stdout.startswith("<!DOCTYPE html>")


def test_a_missing_picture(masks: Path, scenes: Path, invoke: Invoke, tmp_path: Path) -> None:
    (scenes / "1.png").unlink()
    report = tmp_path / "report.html"
    ran = invoke("view", masks, "--images", scenes, "-o", report)
    assert ran.exit_code == 66
    assert "1.png: no such file" in ran.stderr
    assert not report.exists()
    ran = invoke("view", masks, "--images", scenes, "-o", report, "--on-error", "skip")
    assert ran.exit_code == 3
    assert ran.stderr.count("1.png: no such file") == 1
    assert report.exists()


def test_a_turned_picture_is_named(
    masks: Path, scenes: Path, invoke: Invoke, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(draw_scene(0)).save(scenes / "1.png", exif=exif)
    arguments = ("view", masks, "--images", scenes, "-o", tmp_path / "report.html")
    ran = invoke(*arguments)
    assert ran.exit_code == 65
    assert "1.png: has 96 x 128 pixels, but its annotations are for 128 x 96" in ran.stderr
    assert "use --exif ignore" in ran.stderr
    assert invoke(*arguments, "--exif", "ignore").exit_code == 0


def test_overlays_never_replace_the_pictures(masks: Path, scenes: Path, invoke: Invoke) -> None:
    before = (scenes / "1.png").read_bytes()
    ran = invoke("view", masks, "--images", scenes, "--overlays", scenes / "more" / "..")
    assert ran.exit_code == 2
    assert "would replace the images" in ran.stderr
    assert (scenes / "1.png").read_bytes() == before


def test_no_clobber_holds_for_overlays(
    masks: Path, scenes: Path, invoke: Invoke, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "1.png").write_text("precious")
    ran = invoke("view", masks, "--images", scenes, "--overlays", tmp_path / "out", "--no-clobber")
    assert ran.exit_code == 2
    assert "--no-clobber" in ran.stderr
    assert (tmp_path / "out" / "1.png").read_text() == "precious"


def test_skipped_images_are_listed_whatever_is_wrong_with_them(
    masks: Path, scenes: Path, invoke: Invoke, tmp_path: Path
) -> None:
    content = json.loads(masks.read_bytes())
    content["annotations"][1]["segmentation"]["counts"] = "not counts"
    masks.write_text(json.dumps(content))
    (scenes / "more" / "5.png").write_bytes(b"")
    report, overlays = tmp_path / "report.html", tmp_path / "overlays"
    arguments = ["view", masks, "--images", scenes, "--overlays", overlays]
    assert invoke(*arguments, "-o", report).exit_code == 65
    ran = invoke(*arguments, "-o", report, "--on-error", "skip")
    assert ran.exit_code == 3
    listed = [json.loads(line) for line in Path(f"{report}.errors.jsonl").read_text().splitlines()]
    assert [(e["file_name"], e["stage"], e.get("annotation_id")) for e in listed] == [
        ("more/5.png", "view", None),
        ("1.png", "view", content["annotations"][1]["id"]),
    ]
    assert invoke(*arguments, "--on-error", "skip").exit_code == 3
    assert len(Path(f"{overlays}.errors.jsonl").read_text().splitlines()) == 2
