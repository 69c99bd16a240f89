"""The interface of dataset readers: images to convert, and the masks of each."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from unsam_cli.convert.settings import ReadSettings
from unsam_cli.errors import DataError, MissingInputError
from unsam_cli.io.files import file_identity
from unsam_cli.io.files import files_below as regular_files_below
from unsam_cli.io.geo import Georeference
from unsam_cli.io.images import image_size
from unsam_cli.io.left_out import LeftOut
from unsam_cli.io.names import Pictures
from unsam_cli.rle import Rle, RunTable, suppress
from unsam_cli.run.items import Item


@dataclass(frozen=True, slots=True)
class SourceImage:
    """An image of a dataset; `index` is its position in the dataset.

    `georeference` says where it lies on a map, if the dataset does.
    """

    id: int
    file_name: str
    index: int
    georeference: Georeference | None = None


@dataclass(frozen=True, slots=True)
class Truth:
    """A mask of a dataset.

    Attributes
    ----------
    rle : Rle
        The mask.
    extra : dict
        Additional keys of the annotation.
    parent : int or None
        Index of the mask of the same image that contains it.
    iscrowd : bool
        Whether it is a region of many objects, ignored by evaluation.
    area : float or None
        Area in pixels as stated in the source, or None.
    bbox : tuple or None
        Box x, y, w, h in pixels as stated in the source, or None.
    """

    rle: Rle
    extra: dict[str, Any] = field(default_factory=dict)
    parent: int | None = None
    iscrowd: bool = False
    area: float | None = None
    bbox: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """Size and masks of one image."""

    height: int
    width: int
    masks: list[Truth]


class Dataset(Protocol):
    """An opened dataset. Several threads may call `load`."""

    @property
    def images(self) -> Sequence[SourceImage]:
        """All images, by ascending id."""
        ...

    @property
    def history(self) -> Sequence[dict[str, Any]]:
        """The steps that made the files, if this program wrote them."""
        ...

    @property
    def files(self) -> Iterable[Path]:
        """Return all files of the dataset that are read, without the images."""
        ...

    def load(self, image: SourceImage) -> Picture:
        """Read the masks of an image."""
        ...

    def content(self, image: SourceImage) -> int | None:
        """Return a checksum of all data that :meth:`load` reads for an image.

        Data in the single file of a source may be left out, since the history of the output has the
        identity of this file.
        """
        ...


@runtime_checkable
class LeavesOut(Protocol):
    """A dataset whose annotations can be left out one by one."""

    def left_out(self, image: SourceImage) -> list[LeftOut]:
        """Return the annotations of an image that :meth:`Dataset.load` left out."""
        ...

    @property
    def strays(self) -> Sequence[tuple[str, LeftOut]]:
        """Annotations whose image is not listed, with the ids of their images."""
        ...


def select(picture: Picture, settings: ReadSettings) -> Picture:
    """Drop masks that are too small or duplicates; the rest keep their order."""
    masks = picture.masks
    if settings.crowds == "masks":
        masks = [replace(mask, iscrowd=False) if mask.iscrowd else mask for mask in masks]
        picture = Picture(picture.height, picture.width, masks)
    if not masks or (settings.min_area <= 1 and settings.max_iou >= 1):
        return picture
    table = RunTable.from_rles([mask.rle for mask in masks])
    keep = table.areas >= settings.min_area
    if settings.max_iou < 1:
        order = np.flatnonzero(keep)
        keep &= suppress(table, order, settings.max_iou)
    place = {int(old): new for new, old in enumerate(np.flatnonzero(keep))}
    kept = [
        replace(masks[i], parent=None if (p := masks[i].parent) is None else place.get(p))
        for i in place
    ]
    return Picture(picture.height, picture.width, kept)


def to_annotations(image_id: int, masks: Sequence[Truth]) -> list[dict[str, Any]]:
    """Return masks as COCO annotations without ids; `parent` is an index into the list."""
    if not masks:
        return []
    table = RunTable.from_rles([mask.rle for mask in masks])
    return [
        {
            "image_id": image_id,
            "category_id": 1,
            "iscrowd": int(mask.iscrowd),
            "area": int(table.areas[i]) if mask.area is None else _plain(mask.area),
            "bbox": table.boxes[i].tolist() if mask.bbox is None else list(mask.bbox),
            "segmentation": {
                "size": list(mask.rle["size"]),
                "counts": mask.rle["counts"].decode(),
            },
            **mask.extra,
            "parent": mask.parent,
        }
        for i, mask in enumerate(masks)
    ]


def _plain(number: float) -> float:
    return int(number) if number == int(number) else number


def files_below(folder: Path, suffix: str, *, what: str) -> list[Path]:
    """Return the files below `folder` whose names end with `suffix`, sorted bytewise.

    Hidden files are left out. `what` is the name of the files in messages.

    Raises
    ------
    MissingInputError
        There is no such file, or `folder` is not a folder.
    """
    found = []
    if folder.is_dir():
        found = [folder / name for name in regular_files_below(folder, (suffix,))]
    if not found:
        reason = f"has no *{suffix}" if folder.is_dir() else "is not a folder"
        raise MissingInputError(f"{folder}: {reason}; give {what}")
    return sorted(found, key=os.fsencode)


def numbered(names: Sequence[str]) -> list[SourceImage]:
    """Assign ids from 1 in the order of `names`."""
    return [SourceImage(i + 1, name, i) for i, name in enumerate(names)]


def size_of(file_name: str, pictures: Pictures | None, source: str) -> tuple[int, int]:
    """Return height and width, in pixels, of an image whose size is not in the source.

    Raises
    ------
    DataError
        No folder of images is given.
    MissingInputError
        The image does not exist.
    """
    if pictures is None:
        raise DataError(f"{source}: height and width of {file_name} are missing; give --images DIR")
    return image_size(pictures.find(file_name))


def source_identity(path: Path, images: Iterable[Item]) -> str:
    """Identify a source in a history: a file by its content, a folder by its list of images."""
    if path.is_file():
        return file_identity(path)
    listed = "".join(f"{image.id}\t{image.file_name}\n" for image in images)
    return f"sha256:{hashlib.sha256(listed.encode()).hexdigest()[:16]}"
