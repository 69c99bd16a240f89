"""Model folders appear at once or not at all."""

from __future__ import annotations

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

    with pytest.raises(OutputError, match="No space left"):
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
    with pytest.raises(OutputError, match="is no model folder"):
        publish_folder(folder, lambda part: None)
    assert {path.name for path in folder.iterdir()} == set(others)


def test_files_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is no model folder"):
        publish_folder(tmp_path / "file", lambda part: None)
    with pytest.raises(OutputError, match="cannot be written: Not a directory"):
        publish_folder(tmp_path / "file" / "below", lambda part: None)
