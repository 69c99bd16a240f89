"""Write the features file in one pass, with constant memory and reproducible bytes.

All sizes are known before the first byte is written, from the run's journal or from the shards to
merge. So every dataset is contiguous, and the features are copied directly to their place.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import orjson

from unsam_cli.io.feature_records import FeatureAttributes, ImageEntry, RegionEntry
from unsam_cli.io.features_index import FORMAT, VERSION
from unsam_cli.io.geo import placed

Described = tuple[ImageEntry, list[RegionEntry]]
_SLICE = 256  # number of images whose index entries are written at once


@dataclass(frozen=True)
class FeatureTotals:
    """Sizes of a features file: images, records, total patches, channels, element type.

    `georeferenced` says whether it is known of any image where it lies on a map.
    """

    images: int
    regions: int
    patches: int
    dim: int
    dtype: str
    georeferenced: bool = False


def write_features(
    path: Path,
    attributes: FeatureAttributes,
    totals: FeatureTotals,
    described: Iterable[Described],
    chunks: Iterable[bytes | memoryview],
) -> None:
    """Write a features file at `path`.

    Parameters
    ----------
    path : Path
        Path of the file, which is overwritten. Its attribute ``complete`` is set last.
    attributes : FeatureAttributes
        Attributes of the root.
    totals : FeatureTotals
        Sizes, which must match `described` and `chunks`.
    described : iterable of (ImageEntry, list of RegionEntry)
        All images in order. They are read in slices, so memory does not grow with their number.
    chunks : iterable of bytes
        All features, little-endian, record after record in the order of `described`.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    with _open(path, "w") as file:
        _write_attributes(file, attributes)
        _create_index(file, totals)
        _write_index(file, described)
        offset = _allocate_features(file, totals)
    _write_rows(path, offset, chunks)
    with _open(path, "r+") as file:
        file.attrs["complete"] = True


@contextmanager
def _open(path: Path, mode: str) -> Iterator[h5py.File]:
    try:
        with h5py.File(path, mode, libver=("v110", "v110"), locking=False) as file:
            yield file
    except RuntimeError as e:  # raised by h5py if writing fails when it closes a file
        found = re.search(r"errno = (\d+)", str(e))
        number = int(found[1]) if found else errno.EIO
        raise OSError(number, os.strerror(number)) from e


def _write_attributes(file: h5py.File, attributes: FeatureAttributes) -> None:
    values: dict[str, Any] = asdict(attributes)
    for name in attributes.marks:
        if not values[name]:
            del values[name]
    values["history"] = orjson.dumps(values["history"]).decode()
    for name, value in {"format": FORMAT, "version": VERSION, **values}.items():
        file.attrs[name] = value
    file.attrs["complete"] = False


def _create_index(file: h5py.File, totals: FeatureTotals) -> None:
    n, r = totals.images, totals.regions
    raw = h5py.vlen_dtype(np.uint8)
    columns: dict[str, tuple[tuple[int, ...], Any]] = {
        "images/id": ((n,), "<i8"),
        "images/file_name": ((n,), h5py.string_dtype()),
        "images/height": ((n,), "<i4"),
        "images/width": ((n,), "<i4"),
        "images/preview": ((n,), raw),
        **({"images/georeference": ((n,), h5py.string_dtype())} if totals.georeferenced else {}),
        "regions/image_id": ((r,), "<i8"),
        "regions/bbox": ((r, 4), "<i4"),
        "regions/rle": ((r,), raw),
        "regions/score": ((r,), "<f4"),
        "regions/grid": ((r, 2), "<i4"),
        "regions/offset": ((r + 1,), "<i8"),
    }
    for name, (shape, kind) in columns.items():
        file.create_dataset(name, shape=shape, dtype=kind, track_times=False)


def _write_index(file: h5py.File, described: Iterable[Described]) -> None:
    image, region, patch = 0, 0, 0
    file["regions/offset"][0] = 0
    for batch in _batches(described):
        entries = [entry for entry, _ in batch]
        stop = image + len(entries)
        images = file["images"]
        images["id"][image:stop] = [e.id for e in entries]
        images["file_name"][image:stop] = [e.file_name for e in entries]
        images["height"][image:stop] = [e.height for e in entries]
        images["width"][image:stop] = [e.width for e in entries]
        _write_ragged(images["preview"], image, [e.preview for e in entries])
        if "georeference" in images:
            images["georeference"][image:stop] = [_place(e) for e in entries]
        image = stop
        owned = [(entry.id, r) for entry, regions in batch for r in regions]
        if not owned:
            continue
        stop = region + len(owned)
        regions_ = file["regions"]
        regions_["image_id"][region:stop] = [i for i, _ in owned]
        regions_["bbox"][region:stop] = [r.bbox for _, r in owned]
        _write_ragged(regions_["rle"], region, [r.counts for _, r in owned])
        regions_["score"][region:stop] = [r.score for _, r in owned]
        regions_["grid"][region:stop] = [r.grid for _, r in owned]
        ends = patch + np.cumsum([r.patches for _, r in owned])
        regions_["offset"][region + 1 : stop + 1] = ends
        region, patch = stop, int(ends[-1])


def _place(image: ImageEntry) -> bytes:
    found = placed(image.georeference)
    return orjson.dumps(found["georeference"]) if found else b""


def _batches(described: Iterable[Described]) -> Iterator[list[Described]]:
    iterator = iter(described)
    while batch := list(itertools.islice(iterator, _SLICE)):
        yield batch


def _write_ragged(dataset: h5py.Dataset, start: int, items: list[bytes]) -> None:
    # This uses the low-level interface: the high-level one takes ten times as long per item, and
    # treats items of equal length as a matrix.
    values = np.empty(len(items), dtype=dataset.dtype)
    for i, item in enumerate(items):
        values[i] = np.frombuffer(item, dtype=np.uint8)
    place = dataset.id.get_space()
    place.select_hyperslab((start,), values.shape)
    dataset.id.write(h5py.h5s.create_simple(values.shape), place, values)


def _allocate_features(file: h5py.File, totals: FeatureTotals) -> int:
    """Create ``/features`` as one block of the file and return where it starts."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    properties.set_obj_track_times(False)
    space = h5py.h5s.create_simple((totals.patches, totals.dim))
    kind = h5py.h5t.py_create(np.dtype(totals.dtype).newbyteorder("<"))
    dataset = h5py.h5d.create(file.id, b"features", kind, space, dcpl=properties)
    return int(dataset.get_offset() or 0) if totals.patches else 0


def _write_rows(path: Path, offset: int, chunks: Iterable[bytes | memoryview]) -> None:
    with path.open("r+b") as stream:
        stream.seek(offset)
        for chunk in chunks:
            stream.write(chunk)
