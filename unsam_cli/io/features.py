"""Reading the features file, HDF5, ``format = "unsam-features"``, version 1.

The layout is ragged, so that records of different grid sizes share one file: record r is rows
``offset[r]:offset[r+1]`` of ``/features``, row-major over its grid. ``docs/formats.md`` is the
specification.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import h5py
import numpy as np
import numpy.typing as npt
import orjson

from unsam_cli.errors import FeatureFileError, MissingInputError
from unsam_cli.io.files import check_regular
from unsam_cli.io.half import widen
from unsam_cli.io.hdf5 import contained, single_values
from unsam_cli.io.kinds import mistaken_file
from unsam_cli.rle.runs import MAX_PIXELS, Rle, to_runs

FORMAT = "unsam-features"
VERSION = 1
PROMPT = "prompt"
"""Facet of features for a mask decoder, whose grid includes the padding of the input."""
_LONGEST_HISTORY = 2**24  # bytes; the parsed history takes several times as much

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """One image of a features file: its size in pixels after EXIF rotation, and a JPEG preview."""

    id: int
    file_name: str
    height: int
    width: int
    preview: bytes = b""


@dataclass(frozen=True, slots=True)
class Region:
    """What a record covers.

    Attributes
    ----------
    bbox : tuple of int
        Rectangle x, y, w, h in pixels of the original image.
    rle : Rle or None
        Mask at the full size of the image; None stands for the whole rectangle.
    score : float
        The mask's score; 1 for the whole image.
    """

    bbox: tuple[int, int, int, int]
    rle: Rle | None
    score: float


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


class FeatureFile:
    """Random access to a features file; a context manager, safe to share between threads.

    Parameters
    ----------
    path : Path
        The file.
    name : str, optional
        Name in messages; its path by default.

    Raises
    ------
    MissingInputError
        No such file.
    FeatureFileError
        The file is not a features file, has an unknown version, is incomplete or damaged. The
        message names the first bad record.
    """

    def __init__(self, path: Path, *, name: str | None = None) -> None:
        self.path = path
        self.name = name or str(path)
        if not path.exists():
            raise MissingInputError(f"{self.name}: no such file; unsam extract-features makes one")
        check_regular(path, name, FeatureFileError)
        if text := mistaken_file(path, "features"):
            raise FeatureFileError(f"{self.name}: {text}")
        try:
            # Files appear complete and never change, so locks, which fail or hang on NFS, are off.
            self._file = h5py.File(path, "r", locking=False)
        except OSError as e:
            raise self._error(f"not a readable HDF5 file ({_first_line(e)})") from e
        try:
            self.attributes = self._guard(self._read_attributes)
            self._guard(self._read_index)
        except BaseException:
            self._file.close()
            raise

    def _guard(self, read: Callable[[], T]) -> T:
        """Run `read`; turn the errors of h5py on a damaged file into one line."""
        try:
            return read()
        except (OSError, KeyError, RuntimeError, ValueError, TypeError, OverflowError) as e:
            if isinstance(e, FeatureFileError):
                raise
            raise self._error(f"damaged HDF5 ({_first_line(e)})") from e

    def _error(self, text: str) -> FeatureFileError:
        return FeatureFileError(f"{self.name}: {text}; run extract-features again")

    def _read_attributes(self) -> FeatureAttributes:
        attributes = single_values(self._file)
        if attributes.get("format") != FORMAT:
            raise FeatureFileError(
                f"{self.name}: HDF5, but not a features file (format is "
                f"{attributes.get('format')!r}, not {FORMAT!r}); unsam extract-features makes one"
            )
        if int(attributes["version"]) != VERSION:
            raise FeatureFileError(
                f"{self.name}: features file of version {attributes['version']}, but this "
                f"program reads version {VERSION}; run extract-features again, or use a "
                "newer unsam"
            )
        if not bool(attributes["complete"]):
            raise self._error("incomplete because its writer was interrupted")
        text = attributes.get("history", "[]")
        if len(text) > _LONGEST_HISTORY:
            raise self._error(f"its history is longer than {_LONGEST_HISTORY} bytes")
        history = orjson.loads(text)
        if not isinstance(history, list) or not all(isinstance(step, dict) for step in history):
            raise self._error("its history is not a list of steps")
        return FeatureAttributes(
            backbone=str(attributes["backbone"]),
            weights=str(attributes["weights"]),
            facet=str(attributes["facet"]),
            layer=int(attributes["layer"]),
            patch_size=int(attributes["patch_size"]),
            dim=int(attributes["dim"]),
            project=int(attributes["project"]),
            seed=int(attributes["seed"]),
            command=str(attributes["command"]),
            unsam_version=str(attributes["unsam_version"]),
            history=history,
            shard=str(attributes.get("shard", "")),
            image_list=str(attributes.get("image_list", "")),
        )

    def _read_index(self) -> None:
        self.ids = self._column("images/id", np.int64, ())
        n = len(self.ids)
        if len(np.unique(self.ids)) != n:
            raise self._error("an image id occurs twice in /images/id")
        self._heights = self._column("images/height", np.int32, (), n)
        self._widths = self._column("images/width", np.int32, (), n)
        for k in np.flatnonzero((self._heights < 1) | (self._widths < 1))[:1]:
            raise self._error(f"image {self.ids[k]} has no pixels")
        for k in np.flatnonzero(self._heights.astype(np.int64) * self._widths > MAX_PIXELS)[:1]:
            raise self._error(f"image {self.ids[k]} has more than {MAX_PIXELS} pixels")
        self._names = self._texts("images/file_name", n).asstr()
        self._previews = (
            self._texts("images/preview", n) if "preview" in self._file["images"] else None
        )
        self._read_regions()

    def _column(
        self, name: str, kind: type[np.generic], tail: tuple[int, ...], length: int | None = None
    ) -> npt.NDArray[Any]:
        dataset = contained(self._file, name)
        shape = dataset.shape
        if shape[1:] != tail or (length is not None and shape[0] != length):
            expected = ("N" if length is None else str(length), *map(str, tail))
            raise self._error(f"/{name} has shape {shape}, not ({', '.join(expected)})")
        return np.asarray(dataset[()], dtype=kind)

    def _texts(self, name: str, length: int) -> h5py.Dataset:
        dataset = contained(self._file, name)
        if dataset.shape != (length,) or not dataset.dtype.hasobject:
            raise self._error(f"/{name} does not have {length} entries of text or bytes")
        return dataset

    def _read_regions(self) -> None:
        region_image = self._column("regions/image_id", np.int64, ())
        r = len(region_image)
        self._bbox = self._column("regions/bbox", np.int32, (4,), r)
        self._score = self._column("regions/score", np.float32, (), r)
        self._grid = self._column("regions/grid", np.int32, (2,), r)
        self._offset = self._column("regions/offset", np.int64, (), r + 1)
        self._rle = self._texts("regions/rle", r)
        features = self._features = contained(self._file, "features")
        if features.ndim != 2 or features.dtype not in (np.float16, np.float32):
            raise self._error(
                f"/features is {features.ndim}-d {features.dtype}, not 2-d float16 or float32"
            )
        rows = self._places(region_image)
        self._check_regions(region_image, rows, features.shape)
        self._order = np.argsort(rows, kind="stable")
        self._first = np.searchsorted(rows[self._order], np.arange(len(self.ids) + 1))

    def _places(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the positions of images in the file; arbitrary for images that are not in it."""
        order = np.argsort(self.ids)
        found = np.searchsorted(self.ids, ids, sorter=order)
        places: npt.NDArray[np.int64] = np.append(order, 0)[found]
        return places

    def _check_regions(
        self, region_image: npt.NDArray[Any], place: npt.NDArray[Any], shape: tuple[int, int]
    ) -> None:
        """Refuse records with contradictory index entries; name the first."""
        x, y, w, h = self._bbox.T.astype(np.int64)
        known = np.isin(region_image, self.ids)
        if not known.all():
            place = np.zeros_like(place)
        height = self._heights[place] if len(self.ids) else place
        width = self._widths[place] if len(self.ids) else place
        patches = self._grid.astype(np.int64).prod(axis=1)
        checks = [
            (known, "belongs to an image that is not in the file"),
            ((self._grid >= 1).all(axis=1), "has an empty grid"),
            (
                (x >= 0) & (y >= 0) & (w >= 1) & (h >= 1) & (x + w <= width) & (y + h <= height),
                "has a box outside its image",
            ),
            (np.isfinite(self._score), "has a score that is not a number"),
            (np.diff(self._offset) == patches, "has offsets that do not fit its grid"),
        ]
        for good, what in checks:
            for k in np.flatnonzero(~good)[:1]:
                raise self._error(f"record {k} (image {region_image[k]}) {what}")
        if self._offset[0] != 0 or self._offset[-1] != shape[0]:
            raise self._error(
                f"/features has {shape[0]} rows, but /regions/offset ends at {self._offset[-1]}"
            )
        if shape[1] != self.attributes.dim and len(region_image):
            raise self._error(
                f"/features has {shape[1]} channels, but dim is {self.attributes.dim}"
            )

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.ids)

    def image(self, index: int) -> ImageEntry:
        """Return image `index` (0-based position in the file)."""

        def read() -> ImageEntry:
            preview = b"" if self._previews is None else bytes(self._previews[index])
            return ImageEntry(
                id=int(self.ids[index]),
                file_name=self._names[index],
                height=int(self._heights[index]),
                width=int(self._widths[index]),
                preview=preview,
            )

        return self._guard(read)

    def file_names(self) -> list[str]:
        """Return the names of all images, in the order of the file."""
        return self._guard(lambda: list(self._names[:]))

    def regions(self, index: int) -> list[RegionEntry]:
        """Return what the records of image `index` cover."""
        numbers = self._numbers(index)
        masks = self._guard(lambda: self._masks(numbers))
        return [self._region(int(r), mask) for r, mask in zip(numbers, masks, strict=True)]

    def _numbers(self, index: int) -> npt.NDArray[np.int64]:
        numbers: npt.NDArray[np.int64] = self._order[self._first[index] : self._first[index + 1]]
        return numbers

    def _masks(self, numbers: npt.NDArray[np.int64]) -> list[bytes]:
        """Return compressed counts of records, in one read if the records are neighbours."""
        if not len(numbers):
            return []
        first, last = int(numbers[0]), int(numbers[-1])
        if last - first + 1 == len(numbers):
            return [bytes(mask) for mask in self._rle[first : last + 1]]
        return [bytes(self._rle[int(r)]) for r in numbers]

    def _region(self, r: int, counts: bytes) -> RegionEntry:
        x, y, w, h = map(int, self._bbox[r])
        rows, columns = map(int, self._grid[r])
        return RegionEntry((x, y, w, h), counts, float(self._score[r]), (rows, columns))

    def records(self, index: int) -> list[Record]:
        """Return the records of image `index` with their features.

        Raises
        ------
        FeatureFileError
            A feature is not a finite number; the record is named.
        """
        size = [int(self._heights[index]), int(self._widths[index])]
        records = []
        for r, region in zip(self._numbers(index), self.regions(index), strict=True):
            rows, finite = widen(self.rows(int(r)))
            if not finite:
                raise self._error(f"record {r} (image {self.ids[index]}) has features that are NaN")
            rle: Rle | None = {"size": size, "counts": region.counts} if region.counts else None
            if rle is not None:
                self._check_mask(rle, int(r), index)
            grid = rows.reshape(*region.grid, rows.shape[1])
            records.append(Record(region.bbox, rle, region.score, grid))
        return records

    def _check_mask(self, rle: Rle, r: int, index: int) -> None:
        try:
            to_runs(rle)
        except ValueError as e:
            raise self._error(f"record {r} (image {self.ids[index]}): {e}") from e

    def rows(self, r: int) -> npt.NDArray[Any]:
        """Return the features of record `r`, (patches, C), as stored."""
        start, stop = int(self._offset[r]), int(self._offset[r + 1])
        return self._guard(lambda: np.asarray(self._features[start:stop]))

    def image_rows(self, index: int) -> list[npt.NDArray[Any]]:
        """Return the features of each record of image `index`, as stored."""
        return [self.rows(int(r)) for r in self._numbers(index)]

    def checksum(self, index: int) -> int:
        """Return a checksum that changes when image `index` or its features change."""

        def read() -> int:
            found = zlib.crc32(self.image(index).preview)
            for r, region in zip(self._numbers(index), self.regions(index), strict=True):
                found = zlib.crc32(repr(region).encode(), found)
                found = zlib.crc32(np.ascontiguousarray(self.rows(int(r))).data, found)
            return found

        return self._guard(read)

    @property
    def region_count(self) -> int:
        """Number of records."""
        return len(self._grid)

    @property
    def patch_count(self) -> int:
        """Number of patches of all records."""
        return int(self._offset[-1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored features."""
        kind: np.dtype[Any] = self._features.dtype
        return kind

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> FeatureFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()


def _first_line(e: BaseException) -> str:
    return (str(e).splitlines() or [type(e).__name__])[0]
