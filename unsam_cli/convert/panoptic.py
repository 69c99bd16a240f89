"""Read COCO panoptic: a JSON file that describes segments, and PNG files with their pixels."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from unsam_cli.convert.coco_json import pictures_of, read_dataset, sized, source_images
from unsam_cli.convert.dataset import Picture, SourceImage, Truth
from unsam_cli.convert.label_maps import label_masks
from unsam_cli.convert.label_pixels import read_labels
from unsam_cli.convert.settings import ReadSettings
from unsam_cli.errors import DataError, MaskFileError, MissingInputError
from unsam_cli.io.values import whole
from unsam_cli.rle import Rle
from unsam_cli.run.provenance import checksum


class CocoPanoptic:
    """Things and stuff of COCO; see :class:`~unsam_cli.convert.dataset.Dataset`."""

    history: Sequence[dict[str, Any]] = ()

    def __init__(self, path: Path, settings: ReadSettings) -> None:
        self.path, self.folder = path, settings.png or path.with_suffix("")
        if not self.folder.is_dir():
            raise MissingInputError(f"{self.folder}: no such folder of PNG files; give --png DIR")
        self.file = read_dataset(path, settings, masks=False)
        self.pictures = pictures_of(self.file, settings)
        self.images = source_images(self.file)

    @property
    def files(self) -> Iterator[Path]:
        """Return the JSON file and all pictures of its folder."""
        yield self.path
        yield from self.folder.rglob("*.png")

    def load(self, image: SourceImage) -> Picture:
        """Read the segments of an image."""
        size = self._size(image)
        masks: list[Truth] = []
        for name, record in self.file.records_of(image.id):
            try:
                masks += self._segments(record, size)
            except (ValueError, AttributeError, TypeError) as error:
                if isinstance(error, DataError):
                    raise
                raise MaskFileError(f"{name}: {error}; fix or remove it") from error
        return Picture(*size, masks)

    def content(self, image: SourceImage) -> int | None:
        """Return a checksum of the size and the PNG file of an image."""
        found: int | None = zlib.crc32(repr(self._size(image)).encode())
        for _, record in self.file.records_of(image.id):
            if isinstance(record, dict) and isinstance(name := record.get("file_name"), str):
                found = checksum(self.folder / name, found)
        return found

    def _size(self, image: SourceImage) -> tuple[int, int]:
        info = sized(self.file, image.id, self.pictures)
        return info.height, info.width

    def _segments(self, record: dict[str, Any], size: tuple[int, int]) -> list[Truth]:
        name, segments = record.get("file_name"), record.get("segments_info")
        if not isinstance(name, str) or not isinstance(segments, list):
            raise ValueError("file_name or segments_info is missing; give a panoptic file")
        path = self.folder / name
        labels = read_labels(path)
        if labels.shape != size:
            raise DataError(
                f"{path}: {labels.shape[0]}x{labels.shape[1]} pixels, but the image has "
                f"{size[0]}x{size[1]}; copy it again"
            )
        found = dict(label_masks(labels))
        found.pop(0, None)  # void
        masks = [self._segment(segment, found, path) for segment in segments]
        if found:
            raise DataError(f"{path}: segment {next(iter(found))} is not in {self.file.name}")
        return masks

    def _segment(self, segment: dict[str, Any], found: dict[int, Rle], path: Path) -> Truth:
        segment_id = whole(segment, "id")
        if segment_id not in found:
            raise DataError(f"{path}: segment {segment_id} has no pixels")
        category = self.file.categories.get(segment.get("category_id", 0), {})
        extra = {
            name: category[key]
            for name, key in (("category_name", "name"), ("isthing", "isthing"))
            if key in category
        }
        return Truth(found.pop(segment_id), extra, iscrowd=bool(segment.get("iscrowd", 0)))


def open_panoptic(name: str, path: Path, settings: ReadSettings) -> CocoPanoptic:
    """Open COCO panoptic."""
    return CocoPanoptic(path, settings)
