"""What a features file holds: images, regions and their features, and how they were made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy.typing as npt

from unsam_cli.io.geo import Georeference
from unsam_cli.rle.runs import Rle

PROMPT = "prompt"
"""Facet of features for a mask decoder, whose grid includes the padding of the input."""


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """One image of a features file: its size in pixels after EXIF rotation, and a JPEG preview.

    `georeference` says where it lies on a map, if its file does.
    """

    id: int
    file_name: str
    height: int
    width: int
    preview: bytes = b""
    georeference: Georeference | None = None


@dataclass(frozen=True, slots=True)
class Region:
    """What a record covers.

    Attributes
    ----------
    bbox : tuple of int
        Rectangle x, y, w, h in pixels of the original image.
    rle : Rle or None
        Mask at the full size of the image; None stands for the whole rectangle, which is the
        image or a tile.
    score : float
        The mask's score; 1 for the whole image.
    """

    bbox: tuple[int, int, int, int]
    rle: Rle | None
    score: float

    def is_tile(self, height: int, width: int) -> bool:
        """Whether it is a rectangle that is smaller than the image of this size, in pixels."""
        return self.rle is None and self.bbox != (0, 0, width, height)


@dataclass(frozen=True, slots=True)
class Record(Region):
    """A region with its grid of patch features, (h, w, C).

    They are float32 when read, whatever the file stores. Before writing they have the stored type.
    """

    features: npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class RegionEntry:
    """A region as the file stores it, and the size of its grid of features.

    Parameters
    ----------
    bbox : tuple of int
        Rectangle x, y, w, h that the grid covers, in pixels of the original image.
    counts : bytes
        Compressed COCO counts of the mask at the full size of the image; empty for a rectangle.
    score : float
        The mask's score; 1 for the whole image.
    grid : tuple of int
        Rows and columns of patches.
    """

    bbox: tuple[int, int, int, int]
    counts: bytes
    score: float
    grid: tuple[int, int]

    @classmethod
    def of(cls, record: Record) -> RegionEntry:
        """Return what the file stores of a record besides its features."""
        rows, columns, _ = record.features.shape
        counts = record.rle["counts"] if record.rle else b""
        return cls(record.bbox, counts, record.score, (rows, columns))

    @property
    def patches(self) -> int:
        """Number of patches of the grid."""
        return self.grid[0] * self.grid[1]


@dataclass(frozen=True)
class FeatureAttributes:
    """Attributes of the root: what the features are and how they were made.

    In a part of a run `shard` is ``K/N`` and `image_list` is the identity of all images of the run.
    In a complete output both are empty and not stored.
    """

    backbone: str
    weights: str
    facet: str
    layer: int
    patch_size: int
    dim: int
    project: int
    seed: int
    command: str
    unsam_version: str
    history: list[dict[str, Any]] = field(default_factory=list)
    shard: str = ""
    image_list: str = ""

    @property
    def marks(self) -> dict[str, object]:
        """The keys that mark the file as a part of a run."""
        return {"shard": self.shard, "image_list": self.image_list}

    def marked(self, marks: Mapping[str, str]) -> FeatureAttributes:
        """Return a copy with these marks and no others."""
        image_list = marks.get("image_list", "")
        return replace(self, shard=marks.get("shard", ""), image_list=image_list)
