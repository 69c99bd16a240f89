from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest

from unsam_cli.errors import DataError, MissingInputError, UsageError
from unsam_cli.run.image_list import same_images
from unsam_cli.run.inputs import ImageQuery, list_images, local_file


def named(query: ImageQuery) -> list[tuple[int, str]]:
    return [(item.id, item.file_name) for item in list_images(query)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ["b.jpg", "a.PNG", "B.jpeg", "sub/c.tif", ".hidden.jpg", ".git/d.jpg", "note.txt"]:
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def test_folders_are_searched_and_sorted_bytewise(folder: Path) -> None:
    assert named(ImageQuery((str(folder),))) == [
        (1, "B.jpeg"),
        (2, "a.PNG"),
        (3, "b.jpg"),
        (4, "sub/c.tif"),
    ]


def test_the_order_of_arguments_does_not_matter(folder: Path) -> None:
    names = ("photos/b.jpg", "photos/a.PNG")
    assert named(ImageQuery(names)) == named(ImageQuery(names[::-1]))
    assert named(ImageQuery(names)) == [(1, "photos/a.PNG"), (2, "photos/b.jpg")]


def test_files_outside_the_working_folder_are_named_below_their_common_folder(folder: Path) -> None:
    files = (str(folder / "b.jpg"), str(folder / "sub" / "c.tif"))
    assert named(ImageQuery(files)) == [(1, "b.jpg"), (2, "sub/c.tif")]


def test_an_image_given_twice_counts_once(folder: Path) -> None:
    assert len(list_images(ImageQuery(("photos/b.jpg", "photos/b.jpg")))) == 1


def test_two_images_of_one_name_are_refused(folder: Path) -> None:
    other = folder.parent / "other"
    other.mkdir()
    (other / "b.jpg").write_bytes(b"")
    with pytest.raises(UsageError, match="give a common parent folder"):
        list_images(ImageQuery((str(folder), str(other))))


@pytest.mark.parametrize(("null", "separator"), [(False, "\n"), (True, "\0")])
def test_lists(folder: Path, null: bool, separator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = separator.join(["photos/b.jpg", "photos/a.PNG", ""])
    Path("list.txt").write_text(text)
    expected = [(1, "photos/a.PNG"), (2, "photos/b.jpg")]
    assert named(ImageQuery(("@list.txt",), null=null)) == expected
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert named(ImageQuery(("-",), null=null)) == expected


def test_coco_gives_the_ids(folder: Path) -> None:
    images = [
        {"id": 70, "file_name": "b.jpg", "width": 1, "height": 1},
        {"id": 8, "file_name": "sub/c.tif", "width": 1, "height": 1},
    ]
    coco = folder.parent / "coco.json"
    coco.write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
    query = ImageQuery(coco=coco, image_root=folder)
    assert named(query) == [(8, "sub/c.tif"), (70, "b.jpg")]
    with pytest.raises(UsageError, match="not both"):
        list_images(ImageQuery(("photos",), coco=coco))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [((), UsageError), (("none.jpg",), MissingInputError), (("@none.txt",), MissingInputError)],
)
def test_nothing_to_work_on(
    folder: Path, arguments: tuple[str, ...], error: type[Exception]
) -> None:
    with pytest.raises(error):
        list_images(ImageQuery(arguments))


def test_an_empty_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="no images found"):
        list_images(ImageQuery((str(tmp_path),)))


def test_stdin_is_spooled_to_a_file_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\x89HDF data")))
    with local_file("-") as path:
        assert path.read_bytes() == b"\x89HDF data"
    assert not path.exists()


def test_empty_stdin_points_at_the_command_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(MissingInputError, match="previous command"), local_file("-"):
        pass


def test_lists_that_disagree_are_refused(folder: Path) -> None:
    items = list_images(ImageQuery((str(folder),)))
    same_images(items, {1: "B.jpeg"}, "masks.json")
    with pytest.raises(DataError, match=r"image 2 is x.jpg there and a.PNG here"):
        same_images(items, {2: "x.jpg"}, "masks.json")


def test_names_never_climb(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = folder / "sub" / "deep"
    deep.mkdir()
    monkeypatch.chdir(deep)
    files = ("../../b.jpg", "../c.tif", "../../sub/deep/../../a.PNG")
    assert named(ImageQuery(files)) == [(1, "b.jpg"), (2, "a.PNG"), (3, "sub/c.tif")]


def test_missing_images_of_lists_can_be_left_to_the_run(folder: Path) -> None:
    Path("list.txt").write_text("photos/b.jpg\nnone.jpg\n")
    with pytest.raises(MissingInputError, match=r"none\.jpg"):
        list_images(ImageQuery(("@list.txt",)))
    found = list_images(ImageQuery(("@list.txt",)), keep_missing=True)
    assert [item.file_name for item in found] == ["none.jpg", "photos/b.jpg"]
    with pytest.raises(MissingInputError, match=r"none\.jpg"):
        list_images(ImageQuery(("none.jpg",)), keep_missing=True)


def test_missing_images_of_coco_can_be_left_to_the_run(folder: Path) -> None:
    images = [{"id": 3, "file_name": "none.jpg", "width": 1, "height": 1}]
    coco = folder.parent / "coco.json"
    coco.write_text(json.dumps({"images": images, "annotations": []}))
    query = ImageQuery(coco=coco, image_root=folder)
    with pytest.raises(MissingInputError, match=r"none\.jpg"):
        list_images(query)
    assert [item.id for item in list_images(query, keep_missing=True)] == [3]
    (folder.parent / "outside.jpg").write_bytes(b"x")
    for name in ("../outside.jpg", str(folder.parent / "outside.jpg")):
        images[0]["file_name"] = name
        coco.write_text(json.dumps({"images": images, "annotations": []}))
        [item] = list_images(query, keep_missing=True)
        assert item.path.is_relative_to(folder)
        assert not item.path.exists()


def test_folders_that_cannot_be_read_are_not_passed_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = os.scandir

    def denied(path: str) -> object:
        if os.path.basename(path) == "sub":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(MissingInputError, match=r"sub: cannot be read \(Permission denied\)"):
        list_images(ImageQuery((str(folder),)))
