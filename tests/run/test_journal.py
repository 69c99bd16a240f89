from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unsam_cli.errors import OutputError, UsageError
from unsam_cli.run.journal import Journal, part_folder

SETTINGS = {"history": [{"command": "unsam divide", "options": {"tau": 0.15}}]}


def fill(target: Path, count: int, *, resume: bool = False) -> None:
    journal = Journal(target, SETTINGS, resume=resume)
    for i in range(1, count + 1):
        if i not in journal.entries:
            journal.append(i, {"name": f"image {i}"}, bytes([i]) * i)
    journal.close(discard=False)


def test_keeps_records_and_blobs(tmp_path: Path) -> None:
    fill(tmp_path / "out", 3)
    with Journal(tmp_path / "out", SETTINGS, resume=True) as journal:
        assert set(journal.entries) == {1, 2, 3}
        assert (journal.read(2)["name"], journal.read_blob(2)) == ("image 2", b"\2\2")
    assert not part_folder(tmp_path / "out").exists()


@given(cut=st.integers(0, 400))
def test_survives_being_cut_anywhere(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    target = tmp_path_factory.mktemp("cut") / "out"
    fill(target, 4)
    lines = part_folder(target) / "journal.ndjson"
    whole = lines.read_bytes()
    lines.write_bytes(whole[:cut])
    fill(target, 4, resume=True)
    assert lines.read_bytes() == whole or cut < len(whole.splitlines(keepends=True)[0])
    with Journal(target, SETTINGS, resume=True) as journal:
        assert {journal.read(i)["name"] for i in journal.entries} == {
            f"image {i}" for i in range(1, 5)
        }


def test_a_line_without_its_blob_is_not_done(tmp_path: Path) -> None:
    target = tmp_path / "out"
    fill(target, 3)
    blob = part_folder(target) / "blob.bin"
    blob.write_bytes(blob.read_bytes()[:4])
    journal = Journal(target, SETTINGS, resume=True)
    assert set(journal.entries) == {1, 2}
    journal.close(discard=True)


def test_refuses_other_settings_and_names_the_difference(tmp_path: Path) -> None:
    fill(tmp_path / "out", 1)
    other = {"history": [{"command": "unsam divide", "options": {"tau": 0.2}}]}
    with pytest.raises(UsageError, match=r"history\.0\.options\.tau was 0.15 and is now 0.2"):
        Journal(tmp_path / "out", other, resume=True)
    with Journal(tmp_path / "out", SETTINGS, resume=True) as journal:
        assert set(journal.entries) == {1}  # nothing was lost


def test_two_writers_cannot_share_an_output(tmp_path: Path) -> None:
    first = Journal(tmp_path / "out", SETTINGS, resume=False)
    with pytest.raises(OutputError, match="another process"):
        Journal(tmp_path / "out", SETTINGS, resume=False)
    first.close(discard=True)


def test_missing_folder_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="make it first"):
        Journal(tmp_path / "no" / "out", SETTINGS, resume=False)


def test_without_a_target_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    journal = Journal(None, SETTINGS, resume=False)
    journal.append(1, {})
    assert list(tmp_path.iterdir()) == [journal.folder]
    journal.close(discard=False)
    assert list(tmp_path.iterdir()) == []


def test_what_else_is_in_the_folder_stays(tmp_path: Path) -> None:
    folder = part_folder(tmp_path / "out")
    folder.mkdir()
    (folder / "thesis.txt").write_text("precious")
    Journal(tmp_path / "out", SETTINGS, resume=False).close(discard=True)
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


def test_a_writer_that_comes_while_another_ends_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has opened files that the other deletes before it gets the lock."""
    first = Journal(tmp_path / "out", SETTINGS, resume=False)
    lock = Journal._lock

    def late(journal: Journal) -> None:
        first.close(discard=True)
        lock(journal)

    monkeypatch.setattr(Journal, "_lock", late)
    with pytest.raises(OutputError, match="another process"):
        Journal(tmp_path / "out", SETTINGS, resume=False)
