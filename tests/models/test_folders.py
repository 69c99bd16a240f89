"""Model folders appear at once or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from segmenter_models import make_segmenter

from unsam_cli.errors import OutputError
from unsam_cli.models.folders import publish_folder
from unsam_cli.models.loading import load_segmenter, save_segmenter

pytestmark = pytest.mark.torch


def test_a_folder_appears_at_once_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "model"
    publish_folder(target, lambda folder: save_segmenter(make_segmenter(), folder))
    before = load_segmenter(str(target)).identity

    def fail(folder: Path) -> None:
        (folder / "config.json").write_text("{")
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="no space left"):
        publish_folder(target, fail)
    assert load_segmenter(str(target)).identity == before
    publish_folder(target, lambda folder: save_segmenter(make_segmenter(seed=1), folder))
    assert load_segmenter(str(target)).identity != before
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    "others", [["1.jpg"], ["config.json", "model.safetensors", "unsam.json", "run"]]
)
def test_folders_with_other_things_are_not_replaced(tmp_path: Path, others: list[str]) -> None:
    """Photographs, or a whole run of the trainer."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in others:
        (folder / name).touch()
    with pytest.raises(OutputError, match="is not a model folder"):
        publish_folder(folder, lambda part: None)
    assert {path.name for path in folder.iterdir()} == set(others)


def test_files_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is not a model folder"):
        publish_folder(tmp_path / "file", lambda part: None)
    with pytest.raises(OutputError, match="cannot be written: Not a directory"):
        publish_folder(tmp_path / "file" / "below", lambda part: None)


@pytest.mark.parametrize("kind", ["link", "pipe", "leftover"])
def test_what_stands_at_the_temporary_name_is_replaced(kind: str, tmp_path: Path) -> None:
    place, victim = tmp_path / ".model.tmp", tmp_path / "victim"
    victim.mkdir()
    (victim / "precious").touch()
    if kind == "link":
        place.symlink_to(victim)
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        place.mkdir()
        (place / "config.json").touch()

    def write(part: Path) -> None:
        (part / "config.json").write_text("new")

    publish_folder(tmp_path / "model", write)
    assert (tmp_path / "model" / "config.json").read_text() == "new"
    assert (victim / "precious").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"model", "victim"}


def test_two_processes_cannot_write_one_folder(tmp_path: Path) -> None:
    target = tmp_path / "model"

    def write(part: Path) -> None:
        with pytest.raises(OutputError, match="another process is writing it"):
            publish_folder(target, lambda part: None)
        (part / "config.json").write_text("first")

    publish_folder(target, write)
    assert (target / "config.json").read_text() == "first"


def test_modes_are_kept(tmp_path: Path) -> None:
    def write(part: Path) -> None:
        for name in ("config.json", "model.safetensors", "unsam.json"):
            (part / name).touch()

    target = tmp_path / "model"
    publish_folder(target, write)
    target.chmod(0o750)
    (target / "model.safetensors").chmod(0o640)
    publish_folder(target, write)
    assert stat.S_IMODE(target.stat().st_mode) == 0o750
    assert stat.S_IMODE((target / "model.safetensors").stat().st_mode) == 0o640


def test_the_folder_one_is_in_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (".", "..", "/"):
        with pytest.raises(OutputError, match="is the current folder"):
            publish_folder(Path(name), lambda part: None)
