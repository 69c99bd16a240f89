from __future__ import annotations

import pytest

from unsam_cli.errors import DataError
from unsam_cli.run.items import ImageItem
from unsam_cli.run.names import unique_names


def named(*names: str) -> list[str]:
    items = [ImageItem(i, name, name) for i, name in enumerate(names, start=1)]
    return [str(name) for name in unique_names(items, ".png").values()]


def test_each_image_has_a_file_of_its_own() -> None:
    assert named("b/a.jpg", "c/a.jpg", "a.tif") == ["b/a.png", "c/a.png", "a.png"]
    assert named("a.jpg", "a.png", "a.png") == ["a.png", "a.png.png", "a.png.3.png"]
    # The second has taken the name that the third would fall back to.
    assert named("a.jpg", "a.png.tif", "a.png") == ["a.png", "a.png.png", "a.png.3.png"]


def test_case_and_encodings_of_accents_do_not_tell_names_apart() -> None:
    assert named("a.jpg", "A.jpg") == ["a.png", "A.jpg.png"]
    assert named("e\u0301.jpg", "\u00e9.jpg") == ["e\u0301.png", "\u00e9.jpg.png"]


def test_no_file_has_the_name_of_a_folder() -> None:
    assert named("a.jpg", "a.png/b.jpg") == ["a.jpg.png", "a.png/b.png"]


@pytest.mark.parametrize(
    "name", ["../b/a.jpg", "/b/a.jpg", "C:\\b\\a.jpg", "x/../../b/./a.jpg", "b\\a.jpg"]
)
def test_names_of_other_machines_stay_in_the_folder(name: str) -> None:
    assert named(name) == ["b/a.png"]


@pytest.mark.parametrize("name", ["", "..", "/", "a\0.png"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="is not a name"):
        named(name)
