"""Read the full ADE20K: objects, parts and parts of parts as colours of PNG files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count, takewhile
from pathlib import Path
from typing import Any

from unsam_cli.convert.dataset import (
    Picture,
    SourceImage,
    Truth,
    files_below,
    numbered,
)
from unsam_cli.convert.label_maps import label_masks
from unsam_cli.convert.label_pixels import read_pixels
from unsam_cli.convert.settings import ReadSettings
from unsam_cli.errors import DataError, MaskFileError
from unsam_cli.found_masks import CONTAINED
from unsam_cli.io.files import open_regular
from unsam_cli.io.json_text import parse_json
from unsam_cli.rle import RunTable, parents
from unsam_cli.run.provenance import checksum

_SEG = "_seg.png"


class Ade20k:
    """A folder of ADE20K; see :class:`~unsam_cli.convert.dataset.Dataset`."""

    history: Sequence[dict[str, Any]] = ()

    def __init__(self, path: Path, settings: ReadSettings) -> None:
        self.paths = files_below(path, _SEG, what="the images folder of the full ADE20K")
        names = [p.relative_to(path).as_posix().removesuffix(_SEG) for p in self.paths]
        self.images = numbered([f"{name}.jpg" for name in names])

    @property
    def files(self) -> Iterator[Path]:
        """Return all files of the dataset."""
        for path in self.paths:
            yield from (path, _description(path), *_part_levels(path))

    def load(self, image: SourceImage) -> Picture:
        """Read the objects of an image, then their parts, level by level.

        Raises
        ------
        DataError
            A file has another size than the others, or is not of the full ADE20K.
        """
        path = self.paths[image.index]
        names = _category_names(_description(path))
        masks, size = _level(path, 0, names)
        for level, parts in enumerate(_part_levels(path), start=1):
            found, other = _level(parts, level, names)
            if other != size:
                raise DataError(f"{parts}: its size differs from that of {path.name}")
            masks += found
        return Picture(*size, _with_parents(masks))

    def content(self, image: SourceImage) -> int | None:
        """Return a checksum of the files of an image."""
        path = self.paths[image.index]
        found = checksum(path)
        for more in (*_part_levels(path), _description(path)):
            if more.exists():
                found = checksum(more, found)
        return found


def _description(path: Path) -> Path:
    return path.with_name(f"{path.name.removesuffix(_SEG)}.json")


def _part_levels(path: Path) -> Iterator[Path]:
    """Yield the existing files of parts, of parts of parts, and so on."""
    stem = path.name.removesuffix(_SEG)
    names = (path.with_name(f"{stem}_parts_{level}.png") for level in count(1))
    return takewhile(Path.exists, names)


def _level(
    path: Path, level: int, names: dict[tuple[int, int], str]
) -> tuple[list[Truth], tuple[int, int]]:
    """Read the masks of a PNG: R / 10 * 256 + G is the class, B distinguishes its instances.

    References
    ----------
    github.com/CSAILVision/ADE20K, utils/utils_ade20k.py.
    """
    colours, mode = read_pixels(path)
    if not mode.startswith("RGB"):
        raise DataError(
            f"{path}: mode {mode} instead of RGB; give the full ADE20K, not the "
            "SceneParsing benchmark derived from it"
        )
    masks = []
    for colour, rle in label_masks(colours):
        number = (colour & 255) // 10 * 256 + (colour >> 8 & 255)
        if number:
            name = names.get((level, number))
            named = {} if name is None else {"category_name": name}
            masks.append(Truth(rle, {**named, "class": number, "part_level": level}))
    h, w = colours.shape
    return masks, (h, w)


def _category_names(path: Path) -> dict[tuple[int, int], str]:
    """Read names by (part level, class) from the file that describes an image; {} without one."""
    if not path.exists():
        return {}
    with open_regular(path, error=MaskFileError) as stream:
        data = stream.read()
    try:
        try:
            described = parse_json(data)
        except ValueError:  # some files are Latin-1
            described = parse_json(data.decode("latin-1").encode())
        return {
            (int(item["parts"]["part_level"]), int(item["name_ndx"])): str(item["name"])
            for item in described["annotation"]["object"]
        }
    except (ValueError, KeyError, TypeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise MaskFileError(f"{path}: not an ADE20K description of an image: {reason}") from error


def _with_parents(masks: list[Truth]) -> list[Truth]:
    """Set the parent of each part."""
    if not masks:
        return masks
    found = parents(RunTable.from_rles([mask.rle for mask in masks]), CONTAINED).tolist()
    return [
        replace(mask, parent=found[i]) if mask.extra["part_level"] and found[i] >= 0 else mask
        for i, mask in enumerate(masks)
    ]


def open_ade20k(name: str, path: Path, settings: ReadSettings) -> Ade20k:
    """Open a folder of the full ADE20K."""
    return Ade20k(path, settings)
