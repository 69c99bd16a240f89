"""The records of an image while they are computed: in memory, or in a file if they are large.

An image has a record per tile, which may be thousands, and no image is stored before all of its
records are computed.
"""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np
import numpy.typing as npt

from unsam_cli.io.features import Record, Region
from unsam_cli.run.own_files import write_all

HELD = 2**25
"""Bytes of features of an image that are held in memory."""


class SpooledRecords(Sequence[Record]):
    """Records of an image, whose features arrive in any order and from any thread.

    Parameters
    ----------
    regions : sequence of Region
        What the records cover.
    folder : Path, optional
        Where features beyond `HELD` bytes are stored, in a file without a name, so that nothing is
        left of it if the process is killed. Without it all are held in memory.
    """

    def __init__(self, regions: Sequence[Region], folder: Path | None = None) -> None:
        self._regions, self._folder = regions, folder
        self._held: dict[int, npt.NDArray[Any]] = {}
        self._places: dict[int, tuple[int, tuple[int, ...], np.dtype[Any]]] = {}
        self._size = 0
        self._file: BinaryIO | None = None
        self._lock = threading.Lock()

    def put(self, index: int, features: npt.NDArray[Any]) -> None:
        """Store the features of a record, (h, w, C).

        Raises
        ------
        OSError
            They do not fit on the disk; the folder is named.
        """
        with self._lock:
            self._size += features.nbytes
            if self._folder is None or self._size <= HELD:
                self._held[index] = features
                return
            try:
                self._places[index] = (self._stored(features), features.shape, features.dtype)
            except OSError as e:
                raise OSError(e.errno, e.strerror, str(self._folder)) from e

    def _stored(self, features: npt.NDArray[Any]) -> int:
        """Write features to the end of the file, and return where they begin."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115
            weakref.finalize(self, self._file.close)
        begin = self._file.seek(0, os.SEEK_END)
        write_all(self._file, np.ascontiguousarray(features).data)
        return begin

    def __len__(self) -> int:
        return len(self._regions)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        i = range(len(self))[index]
        region = self._regions[i]
        return Record(region.bbox, region.rle, region.score, self._features(i))

    def __iter__(self) -> Iterator[Record]:
        return (self[i] for i in range(len(self)))

    def _features(self, index: int) -> npt.NDArray[Any]:
        if index in self._held:
            return self._held[index]
        begin, shape, kind = self._places[index]
        found = np.empty(shape, kind)
        assert self._file is not None
        view, at = found.data.cast("B"), 0
        while at < len(view):  # a read may return a part of 2 GiB and more
            at += os.preadv(self._file.fileno(), [view[at:]], begin + at)
        return found
