"""Names of pictures as programs spell them."""

from __future__ import annotations

import logging
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from unsam_cli.errors import DataError, MissingInputError
from unsam_cli.io.names import Pictures, base_name, canonical, told_apart

ACCENT = "caf\u00e9 1.jpg"


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


@pytest.mark.parametrize(
    "name",
    [
        f"images/{ACCENT}",
        unicodedata.normalize("NFD", f"images/{ACCENT}"),
        f"images\\{ACCENT}",
        f"C:\\Users\\me\\images\\{ACCENT}",
        f"/home/other/data/images/{ACCENT}",
        f"../images/{ACCENT}",
        f"./images/../images/{ACCENT}",
        "images/caf%C3%A9%201.jpg",
        f"images/{ACCENT}?token=3",
        f"https://host.org/images/{ACCENT}?width=2",
        f"s3://bucket/images/{ACCENT}",
        ACCENT,
    ],
)
@pytest.mark.parametrize("folder", ["data", "data/images", "."])
def test_every_spelling_finds_the_picture(tmp_path: Path, name: str, folder: str) -> None:
    touch(tmp_path, f"data/images/{ACCENT}")
    found = Pictures(tmp_path / folder, [name]).find(name)
    assert found.samefile(tmp_path / "data/images" / ACCENT)


def test_a_file_on_a_disk_that_separates_accents(tmp_path: Path) -> None:
    apart = unicodedata.normalize("NFD", ACCENT)
    touch(tmp_path, f"a/{apart}")
    assert Pictures(tmp_path / "a").find(ACCENT).name == apart
    assert Pictures(tmp_path).find(ACCENT).name == apart


def test_names_as_they_stand_come_first(tmp_path: Path) -> None:
    odd = ["50%20.jpg", "a?b.jpg", "back\\slash.jpg"]
    touch(tmp_path, *odd, "50 .jpg", "a", "back/slash.jpg")
    for name in odd:
        assert Pictures(tmp_path).find(name) == tmp_path / name


def test_a_shared_base_name_finds_nothing_of_another_folder(tmp_path: Path) -> None:
    names = ["cam1/0001.png", "cam2/0001.png", "cam2/0002.png"]
    touch(tmp_path, *names)
    inside = Pictures(tmp_path / "cam1", names)
    assert inside.find("cam1/0001.png") == tmp_path / "cam1/0001.png"
    with pytest.raises(MissingInputError, match=r"0001\.png may be that of cam1/0001\.png, too"):
        inside.find("cam2/0001.png")
    assert Pictures(tmp_path, names).find("cam2/0001.png") == tmp_path / "cam2/0001.png"
    elsewhere = [f"/other/{name}" for name in names]
    inside = Pictures(tmp_path / "cam1", elsewhere)
    assert inside.find("/other/cam1/0001.png") == tmp_path / "cam1/0001.png"
    with pytest.raises(MissingInputError):
        inside.find("/other/cam2/0001.png")


def test_folders_of_one_name_do_not_stand_for_each_other(tmp_path: Path) -> None:
    names = ["train/images/1.png", "val/images/1.png"]
    touch(tmp_path, *names)
    inside = Pictures(tmp_path / "train/images", names)
    assert inside.find(names[0]) == tmp_path / names[0]
    with pytest.raises(MissingInputError):
        inside.find(names[1])


def test_a_base_name_in_two_sub_folders_is_ambiguous(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/1.png", "b/2.png")
    pictures = Pictures(tmp_path, ["1.png", "2.png"])
    assert pictures.find("2.png") == tmp_path / "b/2.png"
    with pytest.raises(MissingInputError, match=r"2 files 1\.png, such as a/1\.png and b/1\.png"):
        pictures.find("1.png")


def test_how_a_picture_was_found_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, "deep/a.jpg")
    with caplog.at_level(logging.DEBUG, "unsam_cli"):
        Pictures(tmp_path).find("deep/a.jpg")
        assert not caplog.messages
        Pictures(tmp_path).find("old/a.jpg")
    assert caplog.messages == [f"old/a.jpg: found as {tmp_path}/deep/a.jpg, by its base name"]


def test_nothing_outside_of_the_folder_is_found(tmp_path: Path) -> None:
    touch(tmp_path, "b.jpg", "root/a/c.jpg")
    for name in ("../b.jpg", "a/../../b.jpg", f"{tmp_path}/b.jpg", "/etc/passwd", "n" * 4000):
        with pytest.raises(MissingInputError, match="no such file"):
            Pictures(tmp_path / "root", [name]).find(name)
    with pytest.raises(MissingInputError):
        Pictures(tmp_path).find("root")


@pytest.mark.parametrize("name", ["", ".", "..", "a\0b", None, 3, "x/..", "a" * 5000])
def test_what_is_no_name_is_refused(tmp_path: Path, name: Any) -> None:
    with pytest.raises(DataError, match="is not the name of a file"):
        Pictures(tmp_path).find(name)


def test_canonical_names() -> None:
    assert canonical("a/b.jpg") == "a/b.jpg"
    assert canonical("..\\a\\b%20c.jpg?x=1") == "a/b c.jpg"
    assert canonical("e\u0301.png") == "\u00e9.png"
    assert base_name("C:\\x\\y.png") == "y.png"


def test_names_that_look_the_same_are_shown_with_their_bytes() -> None:
    assert told_apart("a.jpg", "b.jpg") == ("a.jpg", "b.jpg")
    one, other = told_apart("\u00e9.png", "e\u0301.png")
    assert one.endswith(r"b'\xc3\xa9.png'")
    assert other.endswith(r"b'e\xcc\x81.png'")
