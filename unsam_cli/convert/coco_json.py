"""Read datasets that are one large JSON file: COCO, LVIS, PACO, EntitySeg, PartImageNet.

Only images, categories and positions of annotations are in memory. Annotations are read when their
image is needed, so a file may be larger than the memory.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unsam_cli.convert.dataset import Picture, SourceImage, Truth, size_of
from unsam_cli.convert.settings import ReadSettings
from unsam_cli.errors import MaskFileError
from unsam_cli.io.annotations import Annotation, ImageInfo, annotation, file_name_of, whole
from unsam_cli.io.json_stream import JsonRecord, parse_json, records
from unsam_cli.io.kinds import HEAD, mistaken
from unsam_cli.io.sources import Spool, open_path

Extra = Callable[[dict[str, Any], Annotation, "CocoRecords"], dict[str, Any]]
_FIELDS = 4  # numbers in a row: image, number of the record, first byte, length


class CocoRecords:
    """Images, categories and positions of annotations of a COCO-like file.

    Parameters
    ----------
    path : Path
        The file, compressed with gzip or not.

    Attributes
    ----------
    images : dict
        `ImageInfo` by id; an unknown size is 0 x 0.
    categories : dict
        Records of ``categories`` and ``part_categories`` by id.

    Raises
    ------
    MaskFileError
        The file has another form, or one of its records is invalid.
    """

    def __init__(self, path: Path) -> None:
        self._spool = Spool()
        self.source = open_path(path, self._spool)
        self.name = self.source.name
        self.images: dict[int, ImageInfo] = {}
        self.categories: dict[int, dict[str, Any]] = {}
        self.info: dict[str, Any] = {}
        rows = array("q")
        self._index(rows)
        table = np.array(rows, dtype=np.int64).reshape(-1, _FIELDS)
        self._rows = table[np.argsort(table[:, 0], kind="stable")]
        self._check()

    def records_of(self, image_id: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield (number, record) of the annotations of an image, in the order of the file."""
        ids = self._rows[:, 0]
        first, last = ids.searchsorted(image_id), ids.searchsorted(image_id, side="right")
        for _, number, start, length in self._rows[first:last].tolist():
            try:
                yield number, parse_json(self.source.read_at(start, length))
            except ValueError as error:
                raise self.error(f"record {number} of the annotations: {error}") from error

    def error(self, what: str) -> MaskFileError:
        """Return an error about this file."""
        return MaskFileError(f"{self.name}: {what}; fix or remove it")

    def _index(self, rows: array[int]) -> None:
        count = {"images": 0, "annotations": 0}
        try:
            for record in records(self.source.read_at):
                if record.key in count and record.kind == "element":
                    count[record.key] += 1
                    self._add(record, count[record.key], rows)
                elif record.kind == "element" and record.key.endswith("categories"):
                    category = parse_json(record.text)
                    self.categories[whole(category, "id")] = category
                elif (record.key, record.kind) == ("info", "value"):
                    self.info = parse_json(record.text)
        except MaskFileError:
            raise
        except (ValueError, AttributeError) as error:
            text = mistaken(self.source.read_at(0, HEAD), "masks") or (
                f"not a COCO file: {error}; give a JSON object with images and annotations"
            )
            raise MaskFileError(f"{self.name}: {text}") from error

    def _add(self, record: JsonRecord, number: int, rows: array[int]) -> None:
        try:
            value = parse_json(record.text)
            if not isinstance(value, dict):
                raise ValueError(f"must be an object, got {record.text[:40]!r}")
            if record.key == "annotations":
                rows.extend((whole(value, "image_id"), number, record.start, len(record.text)))
                return
            image = _image(value)
            if image.id in self.images:
                raise ValueError(f"image id {image.id} is taken; ids must be unique")
        except ValueError as error:
            raise self.error(f"record {number} of the {record.key}: {error}") from error
        self.images[image.id] = image

    def _check(self) -> None:
        if not self.images:
            raise MaskFileError(
                f"{self.name}: lists no images; give a COCO file with images and annotations"
            )
        known = np.fromiter(self.images, dtype=np.int64)
        strange = self._rows[~np.isin(self._rows[:, 0], known)]
        if len(strange):
            image, number = strange[0, :2].tolist()
            raise self.error(
                f"record {number} of the annotations belongs to image {image}, "
                "which is not among the images"
            )


def _image(record: dict[str, Any]) -> ImageInfo:
    """Read an image entry, whose size may be missing."""
    sides = [whole(record, key, default=0) for key in ("height", "width")]
    if min(sides) < 0:
        raise ValueError(f"height and width must be positive, got {sides[0]} and {sides[1]}")
    return ImageInfo(whole(record, "id"), file_name_of(record), *sides)


@dataclass(frozen=True)
class _Profile:
    """Peculiarities of a dataset.

    Attributes
    ----------
    extra : callable
        Returns additional keys of an annotation.
    parent : str
        Key that holds the id of the annotation that contains this one.
    """

    extra: Extra
    parent: str = "parent_id"


class CocoDataset:
    """A dataset in a COCO-like file; see :class:`~unsam_cli.convert.dataset.Dataset`."""

    def __init__(self, path: Path, profile: _Profile, settings: ReadSettings) -> None:
        self.files = [path]
        self.file = CocoRecords(path)
        self.profile, self.settings = profile, settings
        infos = sorted(self.file.images.values(), key=lambda info: info.id)
        self.images = [SourceImage(info.id, info.file_name, i) for i, info in enumerate(infos)]

    @property
    def history(self) -> list[dict[str, Any]]:
        """The steps that made the file, if this program wrote it."""
        own = self.file.info.get("unsam", {})
        found = own.get("history", []) if isinstance(own, dict) else []
        return found if isinstance(found, list) else []

    def load(self, image: SourceImage) -> Picture:
        """Read the masks of an image."""
        info = self._sized(self.file.images[image.id])
        rows = [
            (record, self._checked(number, record, info))
            for number, record in self.file.records_of(image.id)
        ]
        place: dict[Any, int] = {found.id: i for i, (_, found) in enumerate(rows)}
        masks = []
        for i, (record, found) in enumerate(rows):
            parent = place.get(record.get(self.profile.parent, -1))
            masks.append(
                Truth(
                    found.rle,
                    self.profile.extra(record, found, self.file),
                    parent=None if parent == i else parent,
                    iscrowd=found.iscrowd,
                    area=found.area,
                    bbox=found.bbox,
                )
            )
        return Picture(info.height, info.width, masks)

    def content(self, image: SourceImage) -> int:
        """Return a checksum of the size of an image, which the file may not contain."""
        return zlib.crc32(repr(self._sized(self.file.images[image.id])).encode())

    def _sized(self, info: ImageInfo) -> ImageInfo:
        if info.height and info.width:
            return info
        size = size_of(info.file_name, self.settings.images, self.file.name)
        return ImageInfo(info.id, info.file_name, *size)

    def _checked(self, number: int, record: dict[str, Any], info: ImageInfo) -> Annotation:
        try:
            return annotation(record, number=number, image_id=info.id, image=info)
        except ValueError as error:
            name = f"annotation {record['id']}" if "id" in record else f"record {number}"
            raise self.file.error(f"{name} (image {info.id}): {error}") from error


def _category(record: dict[str, Any], _: Annotation, file: CocoRecords) -> dict[str, Any]:
    """Name the original category."""
    category = file.categories.get(record.get("category_id", 0), {})
    return {"category_name": category["name"]} if "name" in category else {}


def _everything(record: dict[str, Any], found: Annotation, file: CocoRecords) -> dict[str, Any]:
    """Keep all metadata of a mask; add the name of its category if there are several."""
    said = {key: getattr(found, key) for key in ("score", "stage", "level", "granularity")}
    known = {key: value for key, value in said.items() if value is not None or key in record}
    named = _category(record, found, file) if len(file.categories) > 1 else {}
    return {**known, **named, **found.extra}


def _entity(record: dict[str, Any], found: Annotation, file: CocoRecords) -> dict[str, Any]:
    """Return the original category of EntitySeg, whose own category is class-agnostic."""
    original = record.get("category_id_ori")
    if original is None:
        return _category(record, found, file)
    named = file.categories.get(original, {}) if isinstance(original, int) else {}
    return {"category_name": str(named.get("name", original))}


def _paco(record: dict[str, Any], found: Annotation, file: CocoRecords) -> dict[str, Any]:
    """Distinguish parts from objects by the category, or by the annotation that contains them."""
    category = file.categories.get(found.category_id, {})
    own = record.get("obj_ann_id", found.id) == found.id
    part = category.get("supercategory") == "PART" or not own
    return {"kind": "part" if part else "object", **_category(record, found, file)}


_PROFILES = {
    "coco": _Profile(_everything),
    "lvis": _Profile(_category),
    "entityseg": _Profile(_entity),
    "partimagenet": _Profile(_category),
    "paco": _Profile(_paco, parent="obj_ann_id"),
}


def open_coco_json(name: str, path: Path, settings: ReadSettings) -> CocoDataset:
    """Open a dataset that is a JSON file, by the name of its format."""
    return CocoDataset(path, _PROFILES[name], settings)
