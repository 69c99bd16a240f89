"""Image entries of masks files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from unsam_cli.io.geo import Georeference, placed
from unsam_cli.io.values import whole


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """An image entry of a masks file.

    Attributes
    ----------
    id : int
        Id that annotations refer to.
    file_name : str
        Name as stored in the file, see :func:`~unsam_cli.io.names.Pictures`.
    height, width : int
        Height and width in pixels, after EXIF rotation.
    georeference : Georeference or None
        Where the image lies on a map. The same image may be listed with it and without it.
    """

    id: int
    file_name: str
    height: int
    width: int
    georeference: Georeference | None = field(default=None, compare=False, repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return the entry as files store it."""
        size = {"height": self.height, "width": self.width}
        return {"id": self.id, "file_name": self.file_name, **size, **placed(self.georeference)}


def image_info(
    record: dict[str, Any], *, image_id: int | None = None, sized: bool = True
) -> ImageInfo:
    """Check an image entry; SA-1B calls its id `image_id`, LVIS names files by their address.

    Parameters
    ----------
    record : dict
        The parsed record.
    image_id : int, optional
        Id of the image instead of that of the record, which may be text.
    sized : bool
        Whether height and width are needed; without them they are 0.

    Raises
    ------
    ValueError
        A key is missing or has an invalid value.
    """
    if image_id is None:
        image_id = whole(record, "id" if record.get("id") is not None else "image_id")
    name = file_name_of(record)
    sides = {} if sized else {"default": 0}
    height, width = whole(record, "height", **sides), whole(record, "width", **sides)
    if min(height, width) < bool(sized):
        raise ValueError(f"height and width must be positive, got {height} and {width}")
    place = Georeference.from_json(record.get("georeference"))
    return ImageInfo(image_id, name, height, width, place)


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
