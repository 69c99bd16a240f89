from __future__ import annotations

import base64
import gc
import io
import json
import re
import weakref
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from importlib import resources
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from unsam_cli.errors import ImageFileError, MaskFileError, UnsamError
from unsam_cli.io.masks import Annotation
from unsam_cli.rle import area, resize
from unsam_cli.view.report import SCRIPTS, ReportSettings, write_report
from unsam_cli.view.sets import Photograph

Photo = NDArray[np.uint8]
Entry = Callable[..., Photograph]


class Page(HTMLParser):
    """The elements of a page, and the text of its scripts by id."""

    def __init__(self, page: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.scripts: dict[str, str] = {}
        self.texts: dict[str, str] = {}
        self._inside: tuple[str, str] = ("", "")
        self.feed(page.decode("ascii"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._inside = (tag, dict(attrs).get("id") or "")

    def handle_data(self, data: str) -> None:
        tag, name = self._inside
        target = self.scripts if tag == "script" else self.texts
        target[name] = target.get(name, "") + data

    def json(self, name: str) -> Any:
        return json.loads(self.scripts[name])


def render(*entries: Photograph, photo: Photo, **options: Any) -> Page:
    out = io.BytesIO()
    assert write_report(entries, lambda image: photo, out, **options) == len(entries)
    return Page(out.getvalue())


def test_holds_picture_masks_and_facts(photograph: Entry, photo: Photo) -> None:
    page = render(photograph(7, "a/house.jpg"), photo=photo)
    assert page.json("meta-0") == {
        "id": 7,
        "name": "a/house.jpg",
        "width": 320,
        "height": 240,
        "counts": [5],
        "shared": [5],
        "ids": [[[11, 15]]],
        "thumb": [176, 132],
        "picture": True,
        "problem": "",
    }
    with Image.open(io.BytesIO(base64.b64decode(page.scripts["picture-0"]))) as picture:
        assert picture.size == (320, 240)
    data = page.json("masks-0")
    assert (data["w"], data["h"]) == (320, 240)
    assert [mask["id"] for mask in data["sets"][0]] == [11, 15, 13, 12, 14]  # large to small
    assert [mask["parent"] for mask in data["sets"][0]] == [-1, -1, 0, 0, 2]
    pane = data["sets"][0][4]
    assert re.fullmatch("#[0-9a-f]{6}", pane.pop("color"))
    rle = {"size": [240, 320], "counts": pane.pop("rle").encode()}
    assert area([rle]).tolist() == [400]  # type: ignore[list-item]
    assert pane == {
        "id": 14,
        "area": 400,
        "bbox": [115, 85, 20, 20],
        "score": 0.5,
        "stage": "conquer",
        "level": 0.6,
        "granularity": 0.1,
        "parent": 2,
        "depth": 2,
    }


def test_plain_coco_gets_parents_and_no_invented_facts(
    plain_house: list[Annotation], photo: Photo
) -> None:
    page = render(Photograph({"id": 1, "file_name": "x.jpg"}, (plain_house,)), photo=photo)
    masks = page.json("masks-0")["sets"][0]
    assert [mask["depth"] for mask in masks] == [0, 0, 1, 1, 2]
    known = {"id", "area", "bbox", "rle", "parent", "depth", "color"}
    assert all(set(mask) <= known | {"score"} for mask in masks)


def test_masks_are_embedded_at_the_size_of_the_picture(
    photograph: Entry, house: list[Annotation], photo: Photo
) -> None:
    page = render(photograph(), photo=photo, settings=ReportSettings(longest=100, thumbnail=50))
    meta, data = page.json("meta-0"), page.json("masks-0")
    assert (data["w"], data["h"]) == (100, 75)
    assert (meta["width"], meta["height"], meta["thumb"]) == (320, 240, [50, 38])
    assert data["sets"][0][0]["area"] == 21000  # that of the file
    expected = resize(house[0].rle, (75, 100))
    assert data["sets"][0][0]["rle"].encode() == expected["counts"]


HOSTILE = [
    "</script><script>alert(1)</script>.jpg",
    "<!--<script>.jpg",
    "\"'&lt;&amp;\\.jpg",
    "a\x00\x07\u2028\u2029\n\r\t.jpg",
    "Stra\u00dfe \u65e5\u672c \U0001f43b.jpg",
    "broken\udcff.jpg",
    "$title ${css} $$.jpg",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_text_from_files_stays_text(name: str, photograph: Entry, photo: Photo) -> None:
    settings = ReportSettings(title=name, caption=name)
    page = render(photograph(1, name), photo=photo, settings=settings)
    plain = render(photograph(1, "plain.jpg"), photo=photo)
    assert page.json("meta-0")["name"] == name
    assert page.tags == plain.tags
    assert page.scripts[""] == plain.scripts[""]
    shown = "".join(c if c.isprintable() else "\ufffd" for c in name)
    assert shown in page.texts["title"]
    assert page.texts["caption"].startswith(shown)


def test_strange_numbers_do_not_break_the_page(
    make: Callable[..., Annotation], photo: Photo
) -> None:
    odd = make(3, (1, 1, 5, 5), score=float("nan"), level=float("inf"), stage="</script>")
    mask = render(Photograph({"id": 1}, ([odd],)), photo=photo).json("masks-0")["sets"][0][0]
    assert "score" not in mask
    assert "level" not in mask
    assert mask["stage"] == "</script>"


def test_foreign_keys_and_large_ids(make: Callable[..., Annotation], photo: Photo) -> None:
    extra = {"annotator": 2, "name": "<b>" * 200, "list": [1], "none": None, "nan": float("nan")}
    entries = [make(2**60, (1, 1, 5, 5), extra=extra, iscrowd=True), make(7, (1, 1, 4, 4))]
    page = render(Photograph({"id": 1}, (entries,)), photo=photo)
    crowd, plain = page.json("masks-0")["sets"][0]
    assert crowd["id"] == str(2**60)  # a number would lose its last digits in the browser
    assert crowd["extra"] == {"annotator": 2, "name": ("<b>" * 200)[:200]}
    assert crowd["crowd"] is True
    assert not {"extra", "crowd"} & set(plain)
    assert page.json("meta-0")["ids"] == [[[7, 7], [2**60, 2**60]]]


def test_masks_of_different_sizes(make: Callable[..., Annotation], photo: Photo) -> None:
    masks = [make(1, np.ones((240, 320), np.bool_)), make(2, np.ones((24, 32), np.bool_))]
    odd = Photograph({"id": 1}, (masks,))
    with pytest.raises(MaskFileError, match="image 1: mask 1: size 24x32 differs"):
        render(odd, photo=photo)
    page = render(odd, photo=photo, on_error=lambda image, error: None)
    assert page.json("masks-0")["sets"][0] == []
    assert page.json("meta-0")["problem"].startswith("image 1: mask 1: size")


def test_needs_no_network(photograph: Entry, photo: Photo) -> None:
    out = io.BytesIO()
    write_report([photograph()], lambda image: photo, out)
    page = re.sub(rb"<script type=.*?</script>", b"", out.getvalue(), flags=re.S)
    assert b"://" not in page
    assert b"@import" not in page
    assert b"url(" not in page
    assert b"default-src 'none'" in page


def test_scripts_and_styles_are_ascii() -> None:
    for name in ("report.html", "report.css", *SCRIPTS):
        text = resources.files("unsam_cli.view").joinpath(name).read_text(encoding="utf-8")
        assert text.isascii(), name
        assert "</script" not in text.removesuffix("</script>") or name == "report.html"


def test_one_image_in_memory_at_a_time(house: list[Annotation], photograph: Entry) -> None:
    out = io.BytesIO()
    alive: list[weakref.ref[Photo]] = []
    sizes: list[int] = []

    def images() -> Iterator[Photograph]:
        for number in range(1, 9):
            gc.collect()
            assert sum(ref() is not None for ref in alive) == 0
            sizes.append(out.tell())
            yield photograph(number)

    def load(image: dict[str, Any]) -> Photo:
        rgb = np.full((240, 320, 3), image["id"], dtype=np.uint8)
        alive.append(weakref.ref(rgb))
        return rgb

    assert write_report(images(), load, out) == 8
    assert len(alive) == 8
    assert (np.diff(sizes) > 1000).all()  # what came before is written, not kept


def test_errors_of_pictures_are_raised_or_handed_over(photograph: Entry, photo: Photo) -> None:
    def load(image: dict[str, Any]) -> Photo:
        if image["file_name"] == "bad.jpg":
            raise ImageFileError("bad.jpg: not an image")
        return photo

    entries = [photograph(1, "bad.jpg"), photograph(2, "good.jpg")]
    with pytest.raises(ImageFileError, match=r"bad\.jpg: not an image"):
        write_report(entries, load, io.BytesIO())
    seen: list[tuple[int, str]] = []

    def note(image: dict[str, Any], error: UnsamError) -> None:
        seen.append((image["id"], str(error)))

    out = io.BytesIO()
    assert write_report(entries, load, out, on_error=note) == 2
    assert seen == [(1, "bad.jpg: not an image")]
    page = Page(out.getvalue())
    meta = page.json("meta-0")
    assert (meta["picture"], meta["problem"]) == (False, "bad.jpg: not an image")
    assert (meta["width"], meta["height"]) == (320, 240)
    assert page.scripts["picture-0"].strip() == ""
    assert len(page.json("masks-0")["sets"][0]) == 5
    assert page.json("meta-1")["picture"]


def test_a_picture_of_other_proportions_is_an_error(photograph: Entry, photo: Photo) -> None:
    with pytest.raises(MaskFileError, match="320x240 pixels, but the image has 240x320"):
        render(photograph(), photo=photo.transpose(1, 0, 2).copy())


def test_no_images_and_no_masks(photo: Photo) -> None:
    assert "meta-0" not in render(photo=photo).scripts
    page = render(Photograph({"id": 1, "file_name": "empty.jpg"}, ([],)), photo=photo)
    assert page.json("meta-0")["counts"] == [0]
    assert page.json("masks-0") == {"w": 320, "h": 240, "sets": [[]]}
