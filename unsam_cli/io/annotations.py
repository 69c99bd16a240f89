"""One annotation: a record of a masks file, checked and complete."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from unsam_cli.io.image_entries import ImageInfo
from unsam_cli.io.values import as_whole, is_number, number_or_none, whole_or
from unsam_cli.rle import Rle, area, boxes, from_segmentation, outlined

_OWN_KEYS = frozenset(
    {"id", "image_id", "category_id", "iscrowd", "segmentation", "bbox", "area", "score"}
    | {"parent_id", "level", "stage", "granularity"}
)


_TRUTHS = {"0": False, "1": True, "false": False, "true": True}


class NoMaskError(ValueError):
    """An annotation has no mask: only a box, or polygons without area."""


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

    Notes
    -----
    Missing keys and null are equal. `area`, `bbox` and `category_id` that make no sense count as
    missing, since the mask has its own area and box, and all categories are one; so do `parent_id`,
    `level`, `stage` and `granularity`, which other programs may use for something else.

    Raises
    ------
    NoMaskError
        There is no mask.
    ValueError
        A key is missing or has an invalid value.
    """
    rle = _mask(record, image)
    crowd = is_crowd(record)
    size, stage = record.get("area"), record.get("stage")
    return Annotation(
        id=whole_or(record, "id", number),
        image_id=image_id,
        rle=rle,
        area=size if size is not None and is_number(size) and size >= 0 else int(area([rle])[0]),
        bbox=_box(record, rle),
        category_id=whole_or(record, "category_id", 1),
        iscrowd=crowd,
        score=number_or_none(record, "score"),
        parent_id=as_whole(record.get("parent_id")),
        level=_number_if_any(record, "level"),
        stage=stage if isinstance(stage, str) else None,
        granularity=_number_if_any(record, "granularity"),
        extra={key: value for key, value in record.items() if key not in _OWN_KEYS},
    )


def _number_if_any(record: dict[str, Any], key: str) -> float | None:
    try:
        return number_or_none(record, key)
    except ValueError:
        return None


def is_crowd(record: dict[str, Any]) -> bool:
    """Return whether an annotation is a crowd region.

    Raises
    ------
    ValueError
        `iscrowd` is neither 0 nor 1, nor missing.
    """
    crowd = record.get("iscrowd")
    if isinstance(crowd, str):
        crowd = _TRUTHS.get(crowd.lower(), crowd)
    if crowd not in (None, 0, 1):
        raise ValueError(f"iscrowd must be 0 or 1, got {crowd!r:.60}")
    return bool(crowd)


def without_mask(record: dict[str, Any]) -> str | None:
    """Return why an annotation has no mask, or None if it has one, which may be invalid."""
    segmentation = record.get("segmentation")
    if segmentation is None:
        return "segmentation is missing; masks are needed, not only boxes"
    if isinstance(segmentation, list) and not outlined(segmentation):
        only = "only a box" if record.get("bbox") else "no polygon"
        return (
            f"segmentation is empty ({only}); masks are needed"
            if not segmentation
            else ("no polygon has an area: at least three points are needed")
        )
    return None


def _mask(record: dict[str, Any], image: ImageInfo | None) -> Rle:
    segmentation = record.get("segmentation")
    if (reason := without_mask(record)) is not None:
        raise NoMaskError(reason)
    if image is not None:
        if isinstance(segmentation, dict) and segmentation.get("size") is None:
            segmentation = {**segmentation, "size": [image.height, image.width]}
        return from_segmentation(segmentation, image.height, image.width)
    if isinstance(segmentation, list):
        raise ValueError("polygons need the image's size; give a file with an images list")
    size = segmentation.get("size") if isinstance(segmentation, dict) else None
    if not isinstance(size, list) or len(size) != 2:
        raise ValueError("segmentation must be an object with size [height, width] and counts")
    return from_segmentation(segmentation, *size)


def _box(record: dict[str, Any], rle: Rle) -> tuple[float, float, float, float]:
    box = record.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        box = boxes([rle])[0].tolist()
    x, y, w, h = box
    return x, y, w, h
