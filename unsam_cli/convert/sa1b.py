"""Read SA-1B: one JSON file per image."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from unsam_cli.convert.dataset import Picture, SourceImage, Truth
from unsam_cli.convert.settings import ReadSettings
from unsam_cli.errors import DataError, MaskFileError
from unsam_cli.io.annotations import Annotation, NoMaskError, annotation
from unsam_cli.io.image_entries import image_info
from unsam_cli.io.json_text import LONGEST, parse_json
from unsam_cli.io.kinds import HEAD, mistaken
from unsam_cli.io.left_out import LeftOut, LeftOuts
from unsam_cli.io.sources import Spool, json_files, open_path
from unsam_cli.run.provenance import checksum

_NAME = re.compile(r"sa_(\d{1,18})\.json")
_PLAIN = ("score", "stage", "level", "granularity")


class Sa1b:
    """A folder of SA-1B; see :class:`~unsam_cli.convert.dataset.Dataset`."""

    history: Sequence[dict[str, Any]] = ()
    strays: Sequence[tuple[str, LeftOut]] = ()

    def __init__(self, path: Path, settings: ReadSettings) -> None:
        self.settings, self._left_out = settings, LeftOuts()
        self.paths = json_files(path) if path.is_dir() else [path]
        # Files with names as in SA-1B are not opened here, since there are millions.
        found = [(*_identity(p), i) for i, p in enumerate(self.paths)]
        found.sort()
        for one, other in pairwise(found):
            if one[0] == other[0]:
                raise DataError(
                    f"image {one[0]} is in both {self.paths[one[2]]} and {self.paths[other[2]]}; "
                    "remove one"
                )
        self.images = [SourceImage(*row) for row in found]

    @property
    def files(self) -> Sequence[Path]:
        """Return all files of the dataset."""
        return self.paths

    def load(self, image: SourceImage) -> Picture:
        """Read the masks of an image."""
        path = self.paths[image.index]
        record = _parsed(path)
        picture, (image_id, file_name), bad = read_record(record, str(path), self.settings)
        self._left_out.record(image.id, bad)
        if (image_id, file_name) != (image.id, image.file_name):
            raise MaskFileError(
                f"{path}: holds image {image_id}, {file_name}; name it sa_{image_id}.json"
            )
        return picture

    def left_out(self, image: SourceImage) -> list[LeftOut]:
        """Return the annotations of an image that were left out."""
        return self._left_out.of(image.id)

    def content(self, image: SourceImage) -> int | None:
        """Return a checksum of the file of an image."""
        return checksum(self.paths[image.index])


def read_record(
    record: Any, where: str, settings: ReadSettings
) -> tuple[Picture, tuple[int, str], list[LeftOut]]:
    """Read the object of one image, as files of SA-1B and rows of training shards hold it.

    Parameters
    ----------
    record : object
        Parsed JSON with the keys `image` and `annotations`.
    where : str
        Name of the record in messages.
    settings : ReadSettings
        Whether invalid annotations are left out.

    Returns
    -------
    picture : Picture
        The masks with all their additional keys.
    identity : (int, str)
        Id and file name of the image.
    left_out : list of LeftOut
        Annotations without a mask, and invalid ones if they are left out.

    Raises
    ------
    MaskFileError
        A key is missing or has an invalid value.
    """
    try:
        info = image_info(_member(record, "image", dict))
        rows = _member(record, "annotations", list)
    except ValueError as error:
        raise MaskFileError(f"{where}: {error}; give a file of SA-1B") from error
    found: list[tuple[dict[str, Any], Annotation]] = []
    bad: list[LeftOut] = []
    for number, row in enumerate(rows, start=1):
        try:
            if not isinstance(row, dict):
                raise ValueError("must be an object")
            found.append((row, annotation(row, number=number, image_id=info.id, image=info)))
        except ValueError as error:
            if settings.on_error == "fail" and not isinstance(error, NoMaskError):
                raise MaskFileError(
                    f"{where}: record {number} of the annotations: {error}; fix or remove it"
                ) from error
            own = row.get("id") if isinstance(row, dict) else None
            bad.append(LeftOut(info.id, own or number, str(error)))
    place = {one.id: i for i, (_, one) in enumerate(found)}
    masks = [
        Truth(
            one.rle,
            {**{k: getattr(one, k) for k in _PLAIN if k in row}, **one.extra},
            parent=None if one.parent_id is None else place.get(one.parent_id),
            iscrowd=one.iscrowd,
            area=one.area,
            bbox=one.bbox,
        )
        for row, one in found
    ]
    return Picture(info.height, info.width, masks), (info.id, info.file_name), bad


def _member(record: Any, key: str, kind: type) -> Any:
    value = record.get(key) if isinstance(record, Mapping) else None
    if not isinstance(value, kind):
        raise ValueError(f"{key} is missing")
    return value


def _parsed(path: Path) -> Any:
    source = open_path(path, Spool())
    try:
        return parse_json(source.read_at(0, LONGEST + 1).removeprefix(codecs.BOM_UTF8))
    except ValueError as error:
        told = mistaken(source.read_at(0, HEAD), "masks")
        raise MaskFileError(f"{path}: {told or f'not JSON: {error}; copy it again'}") from error


def _identity(path: Path) -> tuple[int, str]:
    named = _NAME.fullmatch(path.name)
    if named:
        return int(named[1]), f"{path.stem}.jpg"
    try:
        info = image_info(_member(_parsed(path), "image", dict))
    except MaskFileError:
        raise
    except ValueError as error:
        raise MaskFileError(f"{path}: {error}; give a file of SA-1B") from error
    return info.id, info.file_name


def open_sa1b(name: str, path: Path, settings: ReadSettings) -> Sa1b:
    """Open a folder, or one file, of SA-1B."""
    return Sa1b(path, settings)
