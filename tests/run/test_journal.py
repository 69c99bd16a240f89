from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unsam_cli.errors import DataError, OutputError, UsageError
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
    with pytest.raises(UsageError, match=r"cannot resume, --tau was 0.15 and is now 0.2"):
        Journal(tmp_path / "out", other, resume=True)
    with Journal(tmp_path / "out", SETTINGS, resume=True) as journal:
        assert set(journal.entries) == {1}  # nothing was lost


def test_two_writers_cannot_share_an_output(tmp_path: Path) -> None:
    first = Journal(tmp_path / "out", SETTINGS, resume=False)
    with pytest.raises(OutputError, match="another process"):
        Journal(tmp_path / "out", SETTINGS, resume=False)
    first.close(discard=True)


def test_missing_folder_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="create it first"):
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


def whole(target: Path) -> dict[int, tuple[str, bytes]]:
    """Resume a run of four images, and return what is kept and computed in the end."""
    fill(target, 4, resume=True)
    with Journal(target, SETTINGS, resume=True) as journal:
        return {i: (journal.read(i)["name"], journal.read_blob(i)) for i in journal.entries}


FOUR = {i: (f"image {i}", bytes([i]) * i) for i in range(1, 5)}


@given(place=st.integers(0), bit=st.integers(0, 7), name=st.sampled_from(["journal", "blob"]))
def test_a_flipped_bit_is_found(
    place: int, bit: int, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    target = tmp_path_factory.mktemp("flip") / "out"
    fill(target, 4)
    path = part_folder(target) / {"journal": "journal.ndjson", "blob": "blob.bin"}[name]
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << bit
    path.write_bytes(content)
    if name == "journal" and (b"\n" in content and place % len(content) <= content.index(b"\n")):
        with pytest.raises(DataError, match="delete the folder"):  # the settings
            whole(target)
    else:
        assert whole(target) == FOUR


@given(junk=st.binary(max_size=40), place=st.integers(0))
def test_anything_may_stand_in_a_journal(
    junk: bytes, place: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    target = tmp_path_factory.mktemp("junk") / "out"
    fill(target, 4)
    path = part_folder(target) / "journal.ndjson"
    content = path.read_bytes()
    start = place % (len(content) + 1)
    path.write_bytes(content[:start] + junk + content[start:])
    first = path.read_bytes().split(b"\n")[0]
    if start <= len(first) and first != content.split(b"\n")[0]:
        with pytest.raises(DataError, match="delete the folder"):
            whole(target)
    else:
        assert whole(target) == FOUR


@pytest.mark.parametrize(
    "line",
    [
        b"5",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b'{"id":2}',
        b'{"id":2,"blob":5}',
        b'{"id":2,"blob":[-3,1]}',
        b'{"id":2,"blob":[0,10000]}',
        b'{"id":2,"blob":[1,3],"name":"image 2","crc":"12"}',
        b'{"id":2,"blob":[1,3],"name":"image 2","crc":99999999999999999999999999}',
        b'{"id":2,"blob":[1,3],"name":"image 2"}',
        b'{"id":[2],"blob":[1,3],"crc":1}',
        b'{"blob":[1,3],"crc":1}',
    ],
)
def test_a_damaged_line_is_dropped_and_said_once(
    line: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    target = tmp_path / "out"
    fill(target, 4)
    path = part_folder(target) / "journal.ndjson"
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:2], line, *lines[3:]]) + b"\n")
    journal = Journal(target, SETTINGS, resume=True)
    assert set(journal.entries) == {1, 3, 4}  # what follows is kept
    journal.close(discard=False)
    assert len(caplog.records) == 1
    assert "1 damaged lines" in caplog.text
    assert whole(target) == FOUR


@pytest.mark.parametrize("first", [b"5", b"[1,2]", b"null", b'{"history":[]}', b"\xff"])
def test_settings_that_cannot_be_told_end_the_run(first: bytes, tmp_path: Path) -> None:
    fill(tmp_path / "out", 2)
    path = part_folder(tmp_path / "out") / "journal.ndjson"
    path.write_bytes(b"\n".join([first, *path.read_bytes().splitlines()[1:]]) + b"\n")
    with pytest.raises(DataError, match=r"out\.part: its first line is damaged.*delete the folder"):
        Journal(tmp_path / "out", SETTINGS, resume=True)
    Journal(tmp_path / "out", SETTINGS, resume=False).close(discard=True)


def test_lines_that_share_a_place_are_not_both_kept(tmp_path: Path) -> None:
    """Such as one that a careless hand has copied: a sound line in the wrong place."""
    target = tmp_path / "out"
    fill(target, 3)
    path = part_folder(target) / "journal.ndjson"
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines, lines[1], lines[0]]) + b"\n")
    journal = Journal(target, SETTINGS, resume=True)
    assert [journal.read_blob(i) for i in (1, 2, 3)] == [b"\1", b"\2" * 2, b"\3" * 3]
    journal.close(discard=True)


def test_an_image_that_is_done_again_counts_once(tmp_path: Path) -> None:
    target = tmp_path / "out"
    fill(target, 2)
    journal = Journal(target, SETTINGS, resume=True)
    journal.append(1, {"name": "again"}, b"new")
    journal.close(discard=False)
    journal = Journal(target, SETTINGS, resume=True)
    assert (journal.read(1)["name"], journal.read_blob(1)) == ("again", b"new")
    journal.close(discard=True)


def test_damage_while_it_runs_is_not_published(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "out", SETTINGS, resume=False)
    journal.append(1, {}, b"abc")
    (part_folder(tmp_path / "out") / "blob.bin").write_bytes(b"abd")
    with pytest.raises(OutputError, match=r"image 1 has changed on the disk.*--resume"):
        journal.read_blob(1)
    journal.close(discard=True)


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe"])
@pytest.mark.parametrize("name", ["journal.ndjson", "blob.bin"])
@pytest.mark.parametrize("resume", [False, True])
def test_what_is_planted_in_the_folder_is_not_touched(
    kind: str, name: str, resume: bool, tmp_path: Path
) -> None:
    target, victim = tmp_path / "out", tmp_path / "victim"
    part_folder(target).mkdir()
    planted = part_folder(target) / name
    victim.write_text("precious")
    if kind == "link":
        planted.symlink_to(victim)
    elif kind == "hard link":
        planted.hardlink_to(victim)
    else:
        os.mkfifo(planted)
    fill(target, 2, resume=resume)
    assert whole(target) == FOUR
    assert victim.read_text() == "precious"
    assert os.listdir(tmp_path) == ["victim"]


def test_a_link_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    part_folder(tmp_path / "out").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match=r"out\.part is a link; remove it"):
        Journal(tmp_path / "out", SETTINGS, resume=False)
    assert os.listdir(tmp_path / "elsewhere") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    part_folder(tmp_path / "out").mkdir()
    os.chown(part_folder(tmp_path / "out"), 12345, -1)
    with pytest.raises(OutputError, match="belongs to another user"):
        Journal(tmp_path / "out", SETTINGS, resume=False)


def test_lines_are_json_with_a_checksum(tmp_path: Path) -> None:
    fill(tmp_path / "out", 1)
    lines = (part_folder(tmp_path / "out") / "journal.ndjson").read_text().splitlines()
    assert [sorted(json.loads(line)) for line in lines] == [
        ["crc", "history"],
        ["blob", "crc", "id", "name"],
    ]
