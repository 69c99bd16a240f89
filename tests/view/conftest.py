from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from browsing import chromium
from numpy.typing import NDArray

from unsam_cli.io.masks import Annotation, ImageMasks
from unsam_cli.rle import encode
from unsam_cli.view.sets import Photograph

SIZE = (240, 320)
# id: x, y, w, h; the parent; a house with a door and a window with a pane, and a tree beside it.
RECTANGLES = {
    11: ((40, 60, 140, 150), None),
    12: ((60, 140, 30, 70), 11),
    13: ((110, 80, 50, 50), 11),
    14: ((115, 85, 20, 20), 13),
    15: ((220, 40, 60, 160), None),
}


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


def rectangle(x: int, y: int, w: int, h: int, size: tuple[int, int] = SIZE) -> NDArray[np.bool_]:
    mask = np.zeros(size, dtype=np.bool_)
    mask[y : y + h, x : x + w] = True
    return mask


def annotate(number: int, mask: NDArray[np.bool_], **facts: Any) -> Annotation:
    ys, xs = np.nonzero(mask)
    box = (xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1) if mask.any() else (0, 0, 0, 0)
    return Annotation(
        id=number,
        image_id=1,
        rle=encode(mask),
        area=int(mask.sum()),
        bbox=(int(box[0]), int(box[1]), int(box[2]), int(box[3])),
        **facts,
    )


@pytest.fixture
def make() -> Callable[..., Annotation]:
    """Make an annotation from an id and a mask, or the rectangle x, y, w, h."""

    def build(number: int, shape: Any, **facts: Any) -> Annotation:
        mask = rectangle(*shape) if isinstance(shape, tuple) else shape
        return annotate(number, mask, **facts)

    return build


@pytest.fixture
def house() -> list[Annotation]:
    """Masks of the scene with every key of a masks file."""
    levels = {11: 0.1, 12: 0.4, 13: 0.3, 14: 0.6, 15: 0.1}
    grains = {11: 1.0, 12: 0.4, 13: 0.45, 14: 0.1, 15: 1.0}
    return [
        annotate(
            number,
            rectangle(*box),
            parent_id=parent,
            level=levels[number],
            granularity=grains[number],
            score=0.5,
            stage="divide" if parent is None else "conquer",
        )
        for number, (box, parent) in RECTANGLES.items()
    ]


@pytest.fixture
def plain_house() -> list[Annotation]:
    """The same masks as another program would write them, in another order."""
    return [annotate(number, rectangle(*RECTANGLES[number][0])) for number in (14, 12, 15, 11, 13)]


@pytest.fixture
def photo() -> NDArray[np.uint8]:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.stack([x * 255 // SIZE[1], y * 255 // SIZE[0], (x + y) % 256], -1).astype(np.uint8)


@pytest.fixture
def photograph(house: list[Annotation]) -> Callable[..., Photograph]:
    """Make an image with the masks of the scene, or with sets of masks."""

    def make(number: int = 1, name: str = "house.jpg", *sets: list[Annotation]) -> Photograph:
        image = {"id": number, "file_name": name, "height": SIZE[0], "width": SIZE[1]}
        return Photograph(image, sets or (house,))

    return make


@pytest.fixture
def entry(house: list[Annotation]) -> Callable[..., ImageMasks]:
    """Make an entry of a masks file, with the masks of the scene."""

    def make(number: int = 1, name: str = "house.jpg") -> ImageMasks:
        image = {"id": number, "file_name": name, "height": SIZE[0], "width": SIZE[1]}
        return ImageMasks(image, house)

    return make
