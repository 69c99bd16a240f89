"""Read datasets that are one large JSON file: COCO, LVIS, PACO, EntitySeg, PartImageNet.

Only images, categories and positions of annotations are in memory. Annotations are read when their
image is needed, so a file may be larger than the memory.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unsam_cli.convert.dataset import Picture, SourceImage, Truth, size_of
from unsam_cli.convert.settings import ReadSettings
from unsam_cli.errors import MaskFileError
from unsam_cli.io.annotations import Annotation
from unsam_cli.io.image_entries import ImageInfo
from unsam_cli.io.left_out import LeftOut
from unsam_cli.io.masks import MasksFile, read_masks
from unsam_cli.io.masks_table import Form
from unsam_cli.io.names import Pictures
from unsam_cli.io.values import as_whole

Extra = Callable[[dict[str, Any], Annotation, MasksFile], dict[str, Any]]


def read_dataset(path: Path, settings: ReadSettings, *, masks: bool = True) -> MasksFile:
    """Open a COCO-like file, whose images may lack a size, and whose ids may repeat.

    Raises
    ------
    MaskFileError
        The file has another form, lists no images, or one of its records is invalid.
    """
    form = Form(sized=False, unique=False, masks=masks)
    found = read_masks(path, on_error=settings.on_error, crowds=settings.crowds, form=form)
    if not found.images:
        raise MaskFileError(
            f"{path}: lists no images; give a COCO file with images and annotations; fix or "
            "remove it"
        )
    return found


def source_images(found: MasksFile) -> list[SourceImage]:
    """Return the images of a file, by ascending id."""
    infos = sorted(found.images.values(), key=lambda info: info.id)
    return [SourceImage(f.id, f.file_name, i, f.georeference) for i, f in enumerate(infos)]


def pictures_of(found: MasksFile, settings: ReadSettings) -> Pictures | None:
    """Return the pictures of a file, if their folder is given."""
    if settings.images is None:
        return None
    return Pictures(settings.images, (image.file_name for image in found.images.values()))


def sized(found: MasksFile, image_id: int, pictures: Pictures | None) -> ImageInfo:
    """Return the entry of an image, with the size of its file if the entry has none.

    Raises
    ------
    UnsamError
        The image is not found, or no folder of images is given.
    """
    info = found.images[image_id]
    if info.height and info.width:
        return info
    size = size_of(info.file_name, pictures, found.name)
    return ImageInfo(info.id, info.file_name, *size)


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
        self.file = read_dataset(path, settings)
        self.profile, self.pictures = profile, pictures_of(self.file, settings)
        self.images = source_images(self.file)

    @property
    def history(self) -> list[dict[str, Any]]:
        """The steps that made the file, if this program wrote it."""
        own = self.file.info.get("unsam", {})
        found = own.get("history", []) if isinstance(own, dict) else []
        return found if isinstance(found, list) else []

    def load(self, image: SourceImage) -> Picture:
        """Read the masks of an image."""
        info = sized(self.file, image.id, self.pictures)
        rows = self.file.pairs_of(image.id, info)
        place = {_key(record.get("id", found.id)): i for i, (record, found) in enumerate(rows)}
        masks = []
        for i, (record, found) in enumerate(rows):
            parent = place.get(_key(record.get(self.profile.parent)))
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
        return zlib.crc32(repr(sized(self.file, image.id, self.pictures)).encode())

    def left_out(self, image: SourceImage) -> list[LeftOut]:
        """Return the annotations of an image that were left out."""
        return self.file.left_out.of(image.id)

    @property
    def strays(self) -> list[tuple[str, LeftOut]]:
        """Annotations whose image is not listed."""
        return self.file.strays


def _key(value: Any) -> int | str | None:
    """Return an id by which records refer to each other; None if it is none."""
    found = as_whole(value)
    return value if found is None and isinstance(value, str) else found


def _category(record: dict[str, Any], _: Annotation, file: MasksFile) -> dict[str, Any]:
    """Name the original category."""
    category = file.categories.get(_key(record.get("category_id", 0)) or 0, {})
    return {"category_name": category["name"]} if "name" in category else {}


def _everything(record: dict[str, Any], found: Annotation, file: MasksFile) -> dict[str, Any]:
    """Keep all metadata of a mask; add the name of its category if there are several."""
    said = {key: getattr(found, key) for key in ("score", "stage", "level", "granularity")}
    known = {key: value for key, value in said.items() if value is not None or key in record}
    named = _category(record, found, file) if len(file.categories) > 1 else {}
    return {**known, **named, **found.extra}


def _entity(record: dict[str, Any], found: Annotation, file: MasksFile) -> dict[str, Any]:
    """Return the original category of EntitySeg, whose own category is class-agnostic."""
    original = record.get("category_id_ori")
    if original is None:
        return _category(record, found, file)
    named = file.categories.get(original, {}) if isinstance(original, int) else {}
    return {"category_name": str(named.get("name", original))}


def _paco(record: dict[str, Any], found: Annotation, file: MasksFile) -> dict[str, Any]:
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
