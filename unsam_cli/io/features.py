"""Reading the features file, HDF5, ``format = "unsam-features"``, version 1.

The layout is ragged, so that records of different grid sizes share one file: record r is rows
``offset[r]:offset[r+1]`` of ``/features``, row-major over its grid. ``docs/formats.md`` is the
specification.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import h5py
import numpy as np
import numpy.typing as npt

from unsam_cli.errors import FeatureFileError, MachineError, MissingInputError
from unsam_cli.io.feature_records import (
    PROMPT,
    FeatureAttributes,
    ImageEntry,
    Record,
    Region,
    RegionEntry,
)
from unsam_cli.io.features_index import read_attributes, read_images, read_regions
from unsam_cli.io.files import check_regular
from unsam_cli.io.half import widen
from unsam_cli.io.kinds import mistaken_file
from unsam_cli.rle.runs import Rle, to_runs

__all__ = [
    "PROMPT",
    "FeatureAttributes",
    "FeatureFile",
    "ImageEntry",
    "Record",
    "Region",
    "RegionEntry",
]

T = TypeVar("T")


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
            if "consistency flags" in str(e) or "already open" in str(e):
                raise self._left_open() from e
            raise self._error(f"not a readable HDF5 file ({_first_line(e)})") from e
        try:
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

    def _left_open(self) -> MachineError:
        return MachineError(
            f"{self.name}: a program has it open for writing, or died while it had: wait until it "
            f"has finished, or clear its mark with h5clear -s {self.path}",
            everywhere=False,
        )

    def _read_index(self) -> None:
        self.attributes = read_attributes(self._file, self.name, self._error)
        self._images = read_images(self._file, self._error)
        self._regions = read_regions(self._file, self._images, self.attributes.dim, self._error)
        self.ids, self.georeferences = self._images.ids, self._images.georeferences

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.ids)

    def image(self, index: int) -> ImageEntry:
        """Return image `index` (0-based position in the file)."""

        def read() -> ImageEntry:
            preview = b"" if self._images.previews is None else bytes(self._images.previews[index])
            return ImageEntry(
                id=int(self.ids[index]),
                file_name=self._images.names[index],
                height=int(self._images.heights[index]),
                width=int(self._images.widths[index]),
                preview=preview,
                georeference=self.georeferences[index],
            )

        return self._guard(read)

    def file_names(self) -> list[str]:
        """Return the names of all images, in the order of the file."""
        return self._guard(lambda: list(self._images.names[:]))

    def regions(self, index: int) -> list[RegionEntry]:
        """Return what the records of image `index` cover."""
        numbers = self._numbers(index)
        masks = self._guard(lambda: self._masks(numbers))
        return [self._region(int(r), mask) for r, mask in zip(numbers, masks, strict=True)]

    def _numbers(self, index: int) -> npt.NDArray[np.int64]:
        numbers: npt.NDArray[np.int64] = self._regions.order[
            self._regions.first[index] : self._regions.first[index + 1]
        ]
        return numbers

    def _masks(self, numbers: npt.NDArray[np.int64]) -> list[bytes]:
        """Return compressed counts of records, in one read if the records are neighbours."""
        if not len(numbers):
            return []
        first, last = int(numbers[0]), int(numbers[-1])
        if last - first + 1 == len(numbers):
            return [bytes(mask) for mask in self._regions.rle[first : last + 1]]
        return [bytes(self._regions.rle[int(r)]) for r in numbers]

    def _region(self, r: int, counts: bytes) -> RegionEntry:
        x, y, w, h = map(int, self._regions.bbox[r])
        rows, columns = map(int, self._regions.grid[r])
        return RegionEntry((x, y, w, h), counts, float(self._regions.score[r]), (rows, columns))

    def records(self, index: int) -> list[Record]:
        """Return the records of image `index` with their features, as `each_record` does."""
        return list(self.each_record(index))

    def each_record(self, index: int) -> Iterator[Record]:
        """Yield the records of image `index` with their features, and read each when it is due.

        Raises
        ------
        FeatureFileError
            A feature is not a finite number; the record is named.
        """
        size = [int(self._images.heights[index]), int(self._images.widths[index])]
        for r, region in zip(self._numbers(index), self.regions(index), strict=True):
            rows, finite = widen(self.rows(int(r)))
            if not finite:
                raise self._error(f"record {r} (image {self.ids[index]}) has features that are NaN")
            rle: Rle | None = {"size": size, "counts": region.counts} if region.counts else None
            if rle is not None:
                self._check_mask(rle, int(r), index)
            grid = rows.reshape(*region.grid, rows.shape[1])
            yield Record(region.bbox, rle, region.score, grid)

    def _check_mask(self, rle: Rle, r: int, index: int) -> None:
        try:
            to_runs(rle)
        except ValueError as e:
            raise self._error(f"record {r} (image {self.ids[index]}): {e}") from e

    def rows(self, r: int) -> npt.NDArray[Any]:
        """Return the features of record `r`, (patches, C), as stored."""
        start, stop = int(self._regions.offset[r]), int(self._regions.offset[r + 1])
        return self._guard(lambda: np.asarray(self._regions.features[start:stop]))

    def image_rows(self, index: int) -> Iterator[npt.NDArray[Any]]:
        """Yield the features of each record of image `index`, as stored."""
        return (self.rows(int(r)) for r in self._numbers(index))

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
        return len(self._regions.grid)

    @property
    def patch_count(self) -> int:
        """Number of patches of all records."""
        return int(self._regions.offset[-1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored features."""
        kind: np.dtype[Any] = self._regions.features.dtype
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
