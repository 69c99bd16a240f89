"""One annotation: a record of a masks file, checked and complete."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from unsam_cli.rle import Rle, area, boxes, from_segmentation

_OWN_KEYS = frozenset(
    {"id", "image_id", "category_id", "iscrowd", "segmentation", "bbox", "area", "score"}
    | {"parent_id", "level", "stage", "granularity"}
)


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """An image entry of a masks file.

    Attributes
    ----------
    id : int
        Id that annotations refer to.
    file_name : str
        Name as stored in the file, see :func:`~unsam_cli.io.images.find_image`.
    height, width : int
        Height and width in pixels, after EXIF rotation.
    """

    id: int
    file_name: str
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Annotation:
    """A mask and its metadata.

    Attributes
    ----------
    id : int
        Id, unique in its file; the number of the record if the file has no ids.
    image_id : int
        Id of the image.
    rle : Rle
        Mask of the size of the image, in canonical form; also available as `segmentation`.
    area : float
        Area in pixels as in the file, or else the number of pixels of the mask.
    bbox : tuple of float
        Box x, y, w, h in pixels as in the file, or else that of the mask.
    category_id : int
        Category; 1 if the file has none.
    iscrowd : bool
        Whether it is a region of many objects, ignored by evaluation.
    score : float or None
        Score that masks are ranked by.
    parent_id : int or None
        Id of the annotation that contains this one.
    level : float or None
        Merge threshold at which the mask appears.
    stage : str or None
        ``divide``, ``conquer`` or ``predict``.
    granularity : float or None
        0.1 (finest) to 1 (coarsest).
    extra : dict
        All other keys of the record.
    """

    id: int
    image_id: int
    rle: Rle
    area: float
    bbox: tuple[float, float, float, float]
    category_id: int = 1
    iscrowd: bool = False
    score: float | None = None
    parent_id: int | None = None
    level: float | None = None
    stage: str | None = None
    granularity: float | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def segmentation(self) -> Rle:
        """The mask."""
        return self.rle

    def to_json(self, *, with_id: bool) -> dict[str, Any]:
        """Return the record as it is stored, without its parent; with or without its id."""
        optional = ("score", "stage", "level", "granularity")
        said = {key: value for key in optional if (value := getattr(self, key)) is not None}
        return {
            **({"id": self.id} if with_id else {}),
            "image_id": self.image_id,
            "category_id": self.category_id,
            "iscrowd": int(self.iscrowd),
            "area": self.area,
            "bbox": list(self.bbox),
            "segmentation": {**self.rle, "counts": self.rle["counts"].decode()},
            **said,
            **self.extra,
        }


def image_info(record: dict[str, Any]) -> ImageInfo:
    """Check an image entry; SA-1B calls its id `image_id`, LVIS names files by their address.

    Raises
    ------
    ValueError
        A key is missing or has an invalid value.
    """
    image_id = whole(record, "id" if "id" in record else "image_id")
    name = file_name_of(record)
    height, width = whole(record, "height"), whole(record, "width")
    if height < 1 or width < 1:
        raise ValueError(f"height and width must be positive, got {height} and {width}")
    return ImageInfo(image_id, name, height, width)


def file_name_of(record: dict[str, Any]) -> str:
    """Return the name of an image; without one, folder and file name of its `coco_url`.

    The folder is needed, since some validation images of LVIS are training images of COCO.

    Raises
    ------
    ValueError
        The record has neither.
    """
    name, url = record.get("file_name"), record.get("coco_url")
    if not name and isinstance(url, str):
        name = "/".join(PurePosixPath(urlsplit(url).path).parts[-2:])
    if not isinstance(name, str) or not name:
        raise ValueError(f"file_name must be text, got {name!r:.60}")
    return name


def annotation(
    record: dict[str, Any], *, number: int, image_id: int, image: ImageInfo | None
) -> Annotation:
    """Check an annotation and complete it.

    Parameters
    ----------
    record : dict
        The parsed record.
    number : int
        Id of the annotation if the record has none.
    image_id : int
        Id of its image.
    image : ImageInfo, optional
        Entry of its image. Without it, the mask must be an RLE, which includes its size.

    Raises
    ------
    ValueError
        A key is missing or has an invalid value.
    """
    rle = _mask(record, image)
    crowd = record.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise ValueError(f"iscrowd must be 0 or 1, got {crowd!r:.60}")
    stage = record.get("stage")
    if stage is not None and not isinstance(stage, str):
        raise ValueError(f"stage must be text, got {stage!r:.60}")
    size = number_or_none(record, "area")
    return Annotation(
        id=whole(record, "id", default=number),
        image_id=image_id,
        rle=rle,
        area=int(area([rle])[0]) if size is None else size,
        bbox=_box(record, rle),
        category_id=whole(record, "category_id", default=1),
        iscrowd=bool(crowd),
        score=number_or_none(record, "score"),
        parent_id=whole(record, "parent_id") if record.get("parent_id") is not None else None,
        level=number_or_none(record, "level"),
        stage=stage,
        granularity=number_or_none(record, "granularity"),
        extra={key: value for key, value in record.items() if key not in _OWN_KEYS},
    )


def whole(record: dict[str, Any], key: str, *, default: int | None = None) -> int:
    """Return an integer of a record, within 64 bits.

    Raises
    ------
    ValueError
        The value is something else, or missing without a default.
    """
    value = record.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**63:
        raise ValueError(f"{key} must be a whole number, got {value!r:.60}")
    return value


def number_or_none(record: dict[str, Any], key: str) -> float | None:
    """Return a finite number of a record, or None if it has none.

    Raises
    ------
    ValueError
        The value is something else.
    """
    value = record.get(key)
    if value is None:
        return None
    if not _is_number(value):
        raise ValueError(f"{key} must be a finite number, got {value!r:.60}")
    number: float = value
    return number


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < 2**63 if isinstance(value, int) else math.isfinite(value)


def _mask(record: dict[str, Any], image: ImageInfo | None) -> Rle:
    segmentation = record.get("segmentation")
    if segmentation is None:
        raise ValueError("segmentation is missing; masks are needed, not only boxes")
    if image is not None:
        return from_segmentation(segmentation, image.height, image.width)
    if isinstance(segmentation, list):
        raise ValueError("polygons need the image's size; give a file with an images list")
    size = segmentation.get("size") if isinstance(segmentation, dict) else None
    if not isinstance(size, list) or len(size) != 2:
        raise ValueError("segmentation must be an object with size [height, width] and counts")
    return from_segmentation(segmentation, *size)


def _box(record: dict[str, Any], rle: Rle) -> tuple[float, float, float, float]:
    box = record.get("bbox")
    if box is None:
        box = boxes([rle])[0].tolist()
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        raise ValueError(f"bbox must be four finite numbers x, y, w, h, got {box!r:.60}")
    x, y, w, h = box
    return x, y, w, h
