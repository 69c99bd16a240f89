"""unsam run, as a user runs it: the files of the pipe, from one process."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import Invoke

SMALL = ["--size", "128"]
DOTTED = ["--extract-features.size", "128", "--extract-features.region-size", "64"]


@pytest.fixture
def photos(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of two scenes, in the working folder."""
    monkeypatch.chdir(tmp_path)
    folder = Path("photos")
    folder.mkdir()
    for name in ("1.png", "2.png"):
        shutil.copy(scenes / name, folder)
    return folder


def piped(invoke: Invoke, photos: Path, out: Path) -> None:
    """Run the commands of the pipe, with options of some stages."""
    out.mkdir()
    again = ["--regions", out / "objects.json", "--whole-image", "--region-size", "64"]
    for words in [
        ["extract-features", photos, *SMALL, "-o", out / "features.h5"],
        ["divide", out / "features.h5", "--tau", "0.2", "-o", out / "objects.json"],
        ["extract-features", photos, *SMALL, *again, "-o", out / "regions.h5"],
        ["conquer", out / "regions.h5", "--max-masks", 60, "-o", out / "masks.json"],
        ["view", out / "masks.json", "--images", photos, "-o", out / "report.html"],
    ]:
        ran = invoke(*words)
        assert ran.exit_code == 0, ran.stderr


CHOSEN = ["--divide.tau", "0.2", "--conquer.max-masks", "60"]


def test_the_files_are_those_of_the_pipe_and_resuming_changes_none(
    photos: Path, invoke: Invoke
) -> None:
    piped(invoke, photos, Path("piped"))
    words = ["run", photos, "-o", "out", *DOTTED, *CHOSEN, "--keep", "--overlays"]
    (photos / "cells.czi").touch()
    ran = invoke(*words)
    assert ran.exit_code == 0, ran.stderr
    assert ran.stderr.count("left out 1 entry: pictures of microscopes") == 1
    assert ran.stdout == ""
    out = Path("out")
    for name in ("masks.json", "report.html"):
        assert (out / name).read_bytes() == Path("piped", name).read_bytes(), name
    for name in ("features.h5", "objects.json", "regions.h5"):
        assert (out / "stages" / name).read_bytes() == Path("piped", name).read_bytes(), name
    assert sorted(p.name for p in (out / "overlays").iterdir()) == ["1.png", "2.png"]
    (out / "masks.json").unlink()
    ran = invoke(*words, "--resume")
    assert ran.exit_code == 0, ran.stderr
    assert ran.stderr.count("all 2 images were already done") == 3
    assert (out / "masks.json").read_bytes() == Path("piped", "masks.json").read_bytes()


def test_shards_merge_into_one_run_and_a_config_file_sets_options(
    photos: Path, invoke: Invoke
) -> None:
    Path("own.toml").write_text("[extract-features]\nsize = 128\n[divide]\ntau = 0.2\n")
    shared = ["run", photos, "--config", "own.toml", "--no-report", *DOTTED[2:], *CHOSEN[2:]]
    for k in range(2):
        ran = invoke(*shared, "-o", "out", "--shard", f"{k}/2", "-q")
        assert (ran.exit_code, ran.stderr) == (0, "")
    assert sorted(p.name for p in Path("out").iterdir()) == ["masks.0.json", "masks.1.json"]
    merged = invoke("merge", "out/masks.0.json", "out/masks.1.json", "-o", "merged.json")
    assert merged.exit_code == 0, merged.stderr
    piped(invoke, photos, Path("piped"))
    assert Path("merged.json").read_bytes() == Path("piped", "masks.json").read_bytes()


def test_a_list_from_standard_input_and_bad_images(photos: Path, invoke: Invoke) -> None:
    (photos / "bad.jpg").write_bytes(b"no photograph")
    words = ["run", "-", "-o", "out", *DOTTED, "--on-error", "skip"]
    ran = invoke(*words, stdin=b"photos/1.png\nphotos/bad.jpg\n")
    assert ran.exit_code == 3, ran.stderr
    masks = json.loads(Path("out/masks.json").read_bytes())
    assert [image["file_name"] for image in masks["images"]] == ["photos/1.png"]
    assert Path("out/report.html").exists()
    left = {path.name for path in Path("out/stages").iterdir()}
    assert left == {"features.h5.errors.jsonl", "regions.h5.errors.jsonl"}
    assert invoke("run", photos, "-o", "out", *DOTTED).exit_code == 65


def test_a_list_is_not_left_where_options_are_refused(photos: Path, invoke: Invoke) -> None:
    wrong = ["--extract-features.overlap", "0.2"]
    ran = invoke("run", "-", "-o", "out", *wrong, stdin=b"photos/1.png\n")
    assert ran.exit_code == 2, ran.stderr
    assert not Path("out").exists()


def test_a_list_of_the_user_is_left(photos: Path, invoke: Invoke) -> None:
    """It may have the name that `run` gives to a list from standard input."""
    listed = Path("out/stages/images.txt")
    listed.parent.mkdir(parents=True)
    listed.write_text("photos/1.png\n")
    for wrong, code in ((["--divide.tau", "7"], 2), ([], 0)):
        ran = invoke("run", f"@{listed}", "-o", "out", *DOTTED, *wrong)
        assert ran.exit_code == code, ran.stderr
        assert listed.read_text() == "photos/1.png\n"
    ran = invoke("run", "-", "-o", "kept", *DOTTED, "--keep", stdin=b"photos/1.png\n")
    assert ran.exit_code == 0, ran.stderr
    assert Path("kept/stages/images.txt").exists()


def test_resuming_computes_only_what_has_no_masks_yet(
    photos: Path, scenes: Path, invoke: Invoke
) -> None:
    words = ["run", photos, *DOTTED, *CHOSEN, "--no-report"]
    for expected in ("2/2 images", "1/1 images"):
        ran = invoke(*words, "-o", "out", "--resume")
        assert ran.exit_code == 0, ran.stderr
        assert ran.stderr.count(expected) == 4, ran.stderr
        shutil.copy2(scenes / "3.png", photos)
    assert invoke(*words, "-o", "fresh", "-q").exit_code == 0
    assert Path("out/masks.json").read_bytes() == Path("fresh/masks.json").read_bytes()
    ran = invoke(*words, "-o", "out", "--resume")
    assert ran.stderr.count("all 3 images were already done") == 4
    assert "older" not in ran.stderr
    assert [path.name for path in Path("out").iterdir()] == ["masks.json"]
    newer = Path("out/masks.json").stat().st_mtime_ns + 1
    os.utime(photos / "1.png", ns=(newer, newer))
    ran = invoke(*words, "-o", "out", "--resume")
    told = f"{Path('out/masks.json')}: is complete and is kept, but is older than photos/1.png"
    assert ran.stderr.count("older than") == ran.stderr.count(told) == 1
    other = invoke(*words, "-o", "out", "--resume", "--divide.tau", "0.3")
    assert other.exit_code == 2
    assert "--divide.tau was 0.2" in other.stderr
    Path("fresh/masks.json").write_text('{"info":{"unsam":{"history":[]}},\n')
    other = invoke(*words, "-o", "fresh", "--resume")
    assert other.exit_code == 2
    assert "leave out --resume" in other.stderr


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--conquer.max-masks", "few"], 2, "'few' is not a valid integer"),
        (["--divide.tua", "1"], 2, "--divide.tau"),
        (["--divide.tau", "7"], 2, "--divide.tau"),
        (
            ["--extract-features.overlap", "0.5"],
            2,
            "--extract-features.overlap needs --extract-features.tile",
        ),
        (["--extract-features.tile", "half"], 2, "a tile of 'half' is not a number of pixels"),
        (["--conquer.thresholds", "2"], 2, "thresholds is 2"),
        (["--conquer.weights", "none.pth"], 2, "--conquer.weights has no effect"),
        (["none"], 66, "none: no such file"),
    ],
)
def test_all_options_are_checked_before_any_work(
    words: list[str], code: int, text: str, photos: Path, invoke: Invoke
) -> None:
    ran = invoke("run", photos, "-o", "out", *words)
    assert ran.exit_code == code, ran.stderr
    assert text in ran.stderr
    assert "images, " not in ran.stderr
    assert not Path("out").exists()


def test_a_missing_package_is_told_before_any_work(
    photos: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    ran = invoke("run", photos, "-o", "out", "--conquer.refine", "cascadepsp")
    assert ran.exit_code == 2
    assert "cascadepsp needs a package" in ran.stderr
    assert not Path("out").exists()


def test_a_report_needs_one_folder_of_images(photos: Path, invoke: Invoke) -> None:
    shutil.copytree(photos, "others")
    Path("others/1.png").rename("others/3.png")
    Path("others/2.png").unlink()
    ran = invoke("run", photos, "others", "-o", "out", *DOTTED)
    assert ran.exit_code == 2
    assert "the images lie in several folders (others/, photos/)" in ran.stderr
    assert not Path("out").exists()


def test_the_report_shows_the_pixels_that_were_segmented(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = (Image.new("L", (64, 64), grey) for grey in (10, 200))
    first.save("stack.tif", save_all=True, append_images=[second])
    monkeypatch.setenv("UNSAM_EXTRACT_FEATURES_PAGE", "2")
    words = ["--extract-features.bands", "1,1,1", "--no-report", "--overlays"]
    ran = invoke("run", "stack.tif", "-o", "out", *DOTTED, *words)
    assert ran.exit_code == 0, ran.stderr
    assert "page 1" not in ran.stderr
    assert np.asarray(Image.open("out/overlays/stack.png")).max() > 100


def test_messages_of_stages_name_options_as_run_does(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = (Image.new("L", (64, 64), grey) for grey in (10, 200))
    first.save("stack--page.tif", save_all=True, append_images=[second])
    ran = invoke("run", "stack--page.tif", "-o", "out", *DOTTED)
    assert ran.exit_code == 0, ran.stderr
    told = "stack--page.tif: page 1 of 2 is read; --extract-features.page N chooses"
    assert ran.stderr.count(told) == 1
    ran = invoke("run", "stack--page.tif", "-o", "out", *DOTTED, "--extract-features.page", "7")
    assert ran.exit_code == 65
    assert "has 2 pages, not 7; give another --extract-features.page" in ran.stderr
    ran = invoke("run", "stack--page.tif", "-o", "out", *DOTTED, *TILED, "--no-report")
    assert ran.exit_code == 0, ran.stderr
    assert ran.stderr.count(told) == 1


TILED = ["--extract-features.tile", "64"]


def test_with_tiles_borders_follow_the_originals(photos: Path, invoke: Invoke) -> None:
    words = ["run", photos, *DOTTED, *TILED, "--no-report", "-q"]
    again = ["conquer", "of/stages/regions.h5", "-q", "-o"]
    assert invoke(*words, "-o", "of", "--keep").exit_code == 0
    assert invoke(*again, "piped.json", "--images", photos).exit_code == 0
    assert Path("of/masks.json").read_bytes() == Path("piped.json").read_bytes()
    ran = invoke(*words, "-o", "none", "--conquer.refine", "none")
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert invoke(*again, "bare.json", "--refine", "none").exit_code == 0
    assert Path("none/masks.json").read_bytes() == Path("bare.json").read_bytes()


def test_originals_of_several_folders_or_of_a_chosen_one(
    photos: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(photos, "others")
    Path("others/1.png").rename("others/3.png")
    Path("others/2.png").unlink()
    words = [*DOTTED, *TILED, "--no-report", "-q", "-o"]
    ran = invoke("run", photos, "others", *words, "out")
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert "originals" not in Path("out/masks.json").read_text().partition("annotations")[0]
    monkeypatch.setenv("UNSAM_CONQUER_IMAGES", "nowhere")
    assert "nowhere" in invoke("run", photos, *words, "out").stderr
