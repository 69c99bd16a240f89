"""The attributes and the index of a features file, checked: all but the features themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import orjson

from unsam_cli.errors import FeatureFileError
from unsam_cli.io.feature_records import FeatureAttributes
from unsam_cli.io.geo import Georeference
from unsam_cli.io.hdf5 import contained, single_values
from unsam_cli.rle.runs import MAX_PIXELS

FORMAT = "unsam-features"
VERSION = 1
_LONGEST_HISTORY = 2**24  # bytes; the parsed history takes several times as much

Refusal = Callable[[str], FeatureFileError]
"""Makes an error of what is wrong with the file."""


def read_attributes(file: h5py.File, name: str, refusal: Refusal) -> FeatureAttributes:
    """Return the attributes of the root.

    Parameters
    ----------
    file : h5py.File
    name : str
        Name of the file in messages.
    refusal : callable
        Makes an error for a damaged file.

    Raises
    ------
    FeatureFileError
        The file has another format or version, or is incomplete.
    """
    attributes = single_values(file)
    if attributes.get("format") != FORMAT:
        raise FeatureFileError(
            f"{name}: HDF5, but not a features file (format is "
            f"{attributes.get('format')!r}, not {FORMAT!r}); unsam extract-features makes one"
        )
    if int(attributes["version"]) != VERSION:
        raise FeatureFileError(
            f"{name}: features file of version {attributes['version']}, but this "
            f"program reads version {VERSION}; run extract-features again, or use a "
            "newer unsam"
        )
    if not bool(attributes["complete"]):
        raise refusal("incomplete because its writer was interrupted")
    text = attributes.get("history", "[]")
    if len(text) > _LONGEST_HISTORY:
        raise refusal(f"its history is longer than {_LONGEST_HISTORY} bytes")
    history = orjson.loads(text)
    if not isinstance(history, list) or not all(isinstance(step, dict) for step in history):
        raise refusal("its history is not a list of steps")
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


@dataclass(frozen=True)
class ImageIndex:
    """The images of a file: arrays of n, and texts that are read when they are needed."""

    ids: npt.NDArray[np.int64]
    heights: npt.NDArray[np.int32]
    widths: npt.NDArray[np.int32]
    names: Any
    previews: h5py.Dataset | None
    georeferences: list[Georeference | None]

    def places(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the positions of images in the file; arbitrary for images that are not in it."""
        order = np.argsort(self.ids)
        found = np.searchsorted(self.ids, ids, sorter=order)
        places: npt.NDArray[np.int64] = np.append(order, 0)[found]
        return places


@dataclass(frozen=True)
class RegionIndex:
    """The records of a file.

    Attributes
    ----------
    bbox : (r, 4) int32
    score : (r,) float32
    grid : (r, 2) int32
    offset : (r + 1,) int64
    rle, features : h5py.Dataset
        As docs/formats.md says.
    order : (r,) int64
        The records by image.
    first : (n + 1,) int64
        Those of image i of the file are ``order[first[i]:first[i + 1]]``.
    """

    bbox: npt.NDArray[np.int32]
    score: npt.NDArray[np.float32]
    grid: npt.NDArray[np.int32]
    offset: npt.NDArray[np.int64]
    rle: h5py.Dataset
    features: h5py.Dataset
    order: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]


def read_images(file: h5py.File, refusal: Refusal) -> ImageIndex:
    """Return the images of a file.

    Raises
    ------
    FeatureFileError
        The index contradicts itself; the message names the first bad image.
    """
    ids = _column(file, "images/id", np.int64, (), refusal)
    n = len(ids)
    if len(np.unique(ids)) != n:
        raise refusal("an image id occurs twice in /images/id")
    heights = _column(file, "images/height", np.int32, (), refusal, n)
    widths = _column(file, "images/width", np.int32, (), refusal, n)
    for k in np.flatnonzero((heights < 1) | (widths < 1))[:1]:
        raise refusal(f"image {ids[k]} has no pixels")
    for k in np.flatnonzero(heights.astype(np.int64) * widths > MAX_PIXELS)[:1]:
        raise refusal(f"image {ids[k]} has more than {MAX_PIXELS} pixels")
    names = _texts(file, "images/file_name", n, refusal).asstr()
    stored = "preview" in file["images"]
    previews = _texts(file, "images/preview", n, refusal) if stored else None
    places: list[Georeference | None] = [None] * n
    if "georeference" in file["images"]:
        texts = _texts(file, "images/georeference", n, refusal)[:]
        places = [Georeference.from_json(orjson.loads(text or b"null")) for text in texts]
    return ImageIndex(ids, heights, widths, names, previews, places)


def read_regions(file: h5py.File, images: ImageIndex, dim: int, refusal: Refusal) -> RegionIndex:
    """Return the records of a file whose features have `dim` channels.

    Raises
    ------
    FeatureFileError
        The index contradicts itself; the message names the first bad record.
    """
    image_ids = _column(file, "regions/image_id", np.int64, (), refusal)
    r = len(image_ids)
    bbox = _column(file, "regions/bbox", np.int32, (4,), refusal, r)
    score = _column(file, "regions/score", np.float32, (), refusal, r)
    grid = _column(file, "regions/grid", np.int32, (2,), refusal, r)
    offset = _column(file, "regions/offset", np.int64, (), refusal, r + 1)
    rle = _texts(file, "regions/rle", r, refusal)
    features = contained(file, "features")
    if features.ndim != 2 or features.dtype not in (np.float16, np.float32):
        raise refusal(
            f"/features is {features.ndim}-d {features.dtype}, not 2-d float16 or float32"
        )
    places = images.places(image_ids)
    order = np.argsort(places, kind="stable")
    first = np.searchsorted(places[order], np.arange(len(images.ids) + 1))
    index = RegionIndex(bbox, score, grid, offset, rle, features, order, first)
    _check_regions(index, images, image_ids, places, refusal)
    if features.shape[1] != dim and r:
        raise refusal(f"/features has {features.shape[1]} channels, but dim is {dim}")
    return index


def _check_regions(
    regions: RegionIndex,
    images: ImageIndex,
    image_ids: npt.NDArray[np.int64],
    places: npt.NDArray[np.int64],
    refusal: Refusal,
) -> None:
    """Refuse records with contradictory entries; name the first."""
    x, y, w, h = regions.bbox.T.astype(np.int64)
    known = np.isin(image_ids, images.ids)
    if not known.all():
        places = np.zeros_like(places)
    height = images.heights[places] if len(images.ids) else places
    width = images.widths[places] if len(images.ids) else places
    patches = regions.grid.astype(np.int64).prod(axis=1)
    checks = [
        (known, "belongs to an image that is not in the file"),
        ((regions.grid >= 1).all(axis=1), "has an empty grid"),
        (
            (x >= 0) & (y >= 0) & (w >= 1) & (h >= 1) & (x + w <= width) & (y + h <= height),
            "has a box outside its image",
        ),
        (np.isfinite(regions.score), "has a score that is not a number"),
        (np.diff(regions.offset) == patches, "has offsets that do not fit its grid"),
    ]
    for good, what in checks:
        for k in np.flatnonzero(~good)[:1]:
            raise refusal(f"record {k} (image {image_ids[k]}) {what}")
    rows = regions.features.shape[0]
    if regions.offset[0] != 0 or regions.offset[-1] != rows:
        raise refusal(
            f"/features has {rows} rows, but /regions/offset ends at {regions.offset[-1]}"
        )


def _column(
    file: h5py.File,
    name: str,
    kind: type[np.generic],
    tail: tuple[int, ...],
    refusal: Refusal,
    length: int | None = None,
) -> npt.NDArray[Any]:
    dataset = contained(file, name)
    shape = dataset.shape
    if shape[1:] != tail or (length is not None and shape[0] != length):
        expected = ("N" if length is None else str(length), *map(str, tail))
        raise refusal(f"/{name} has shape {shape}, not ({', '.join(expected)})")
    return np.asarray(dataset[()], dtype=kind)


def _texts(file: h5py.File, name: str, length: int, refusal: Refusal) -> h5py.Dataset:
    dataset = contained(file, name)
    if dataset.shape != (length,) or not dataset.dtype.hasobject:
        raise refusal(f"/{name} does not have {length} entries of text or bytes")
    return dataset
