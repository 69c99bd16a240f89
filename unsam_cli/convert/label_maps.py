"""Read pictures whose pixels are labels: any folder of them, and DAVIS."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unsam_cli.convert.dataset import (
    Picture,
    SourceImage,
    Truth,
    files_below,
    numbered,
)
from unsam_cli.convert.label_pixels import LabelArray, read_labels, read_pixels
from unsam_cli.convert.settings import ReadSettings
from unsam_cli.errors import DataError, MissingInputError, counted
from unsam_cli.io.files import files_below as regular_files_below
from unsam_cli.io.suffixes import IMAGE_SUFFIXES
from unsam_cli.rle import Rle, from_runs
from unsam_cli.run.provenance import checksum

logger = logging.getLogger(__name__)

_MARKED = re.compile(
    r"[_\-. ](mask|masks|label|labels|labelids|seg|segmentation|gt|annotation|instances?)$", re.I
)
_VOID = 255  # label of DAVIS for pixels that do not count


def label_masks(labels: LabelArray) -> list[tuple[int, Rle]]:
    """Return each label of a picture with its mask, by ascending label.

    Parameters
    ----------
    labels : (H, W) int64
        Label of each pixel.

    Returns
    -------
    list of (int, Rle)
        Labels and masks.
    """
    h, w = labels.shape
    flat = labels.T.ravel()  # column by column, as runs go
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    runs = np.stack([starts, np.append(starts[1:], flat.size)], axis=1)
    order = np.argsort(flat[starts], kind="stable")
    values, first = np.unique(flat[starts][order], return_index=True)
    groups = np.split(runs[order], first[1:])
    return [(int(v), from_runs(g, (h, w))) for v, g in zip(values, groups, strict=True)]


def component_masks(labels: LabelArray) -> list[tuple[int, Rle]]:
    """Return the 4-connected pieces of each label in (H, W) int64, by ascending label."""
    from scipy import ndimage

    pieces = np.zeros(labels.shape, dtype=np.int64)
    owner = [0]
    values, inverse = np.unique(labels, return_inverse=True)
    dense = inverse.reshape(labels.shape)
    for index, window in enumerate(ndimage.find_objects(dense + 1)):
        inside = dense[window] == index
        found, count = ndimage.label(inside)
        pieces[window][inside] = found[inside] + len(owner) - 1
        owner += [int(values[index])] * count
    return [(owner[piece], rle) for piece, rle in label_masks(pieces)]


class LabelMaps:
    """A folder of label maps; see :class:`~unsam_cli.convert.dataset.Dataset`."""

    history: Sequence[dict[str, Any]] = ()

    def __init__(self, path: Path, settings: ReadSettings) -> None:
        self.settings = settings
        single = path.is_file()
        folder = path.parent if single else path
        names = [path.relative_to(folder)] if single else _label_maps_below(folder)
        beside = _names_by_stem(settings.images or folder)
        if not single and settings.images is None:
            names = _without_photographs(names, beside)
        self.paths = [folder / name for name in names]
        self.images = numbered([_name(name, beside, settings.images) for name in names])

    @property
    def files(self) -> Sequence[Path]:
        """Return all files of the dataset."""
        return self.paths

    def load(self, image: SourceImage) -> Picture:
        """Read the masks of an image."""
        labels = read_labels(self.paths[image.index])
        h, w = labels.shape
        split = component_masks if self.settings.components else label_masks
        masks = [
            Truth(rle, {"label": value})
            for value, rle in split(labels)
            if value != self.settings.background
        ]
        return Picture(h, w, masks)

    def content(self, image: SourceImage) -> int | None:
        """Return a checksum of the label map of an image."""
        return checksum(self.paths[image.index])


def _label_maps_below(folder: Path) -> list[Path]:
    """Return the label maps below a folder, relative to it: PNG, else TIFF, sorted bytewise."""
    tiffs = [Path(name) for name in regular_files_below(folder, (".tif", ".tiff"))]
    if tiffs and not any(regular_files_below(folder, (".png",))):
        return sorted(tiffs, key=os.fsencode)
    what = "a folder of label maps (PNG or TIFF)"
    names = [p.relative_to(folder) for p in files_below(folder, ".png", what=what)]
    known = {name for label_map in names for name in (label_map.with_suffix(""), _stem(label_map))}
    if others := [name for name in tiffs if name.with_suffix("") not in known]:
        logger.warning(
            "%s: left out %s beside PNG files, such as %s; label maps are of one kind",
            *(folder, counted(len(others), "TIFF file"), others[0]),
        )
    return names


def _without_photographs(names: list[Path], beside: dict[Path, str]) -> list[Path]:
    """Return only names such as ``a_mask.png``, if there are photographs of these names."""
    marked = [name for name in names if _stem(name) != name.with_suffix("")]
    marked = [name for name in marked if _stem(name) in beside]
    return marked or names


def _stem(label_map: Path) -> Path:
    """Return the name of the photograph of a label map, without suffix."""
    return label_map.with_name(_MARKED.sub("", label_map.stem))


def _names_by_stem(images: Path) -> dict[Path, str]:
    """Return names of the images below a folder by their names without suffix."""
    found = [Path(name) for name in regular_files_below(images, tuple(IMAGE_SUFFIXES))]
    return {name.with_suffix(""): name.as_posix() for name in sorted(found, reverse=True)}


def _name(label_map: Path, known: dict[Path, str], images: Path | None) -> str:
    """Return the name of the photograph of a label map, such as ``a.jpg`` of ``a_mask.png``."""
    plain, stem = label_map.with_suffix(""), _stem(label_map)
    if images is None:
        return known[stem] if stem != plain and stem in known else label_map.as_posix()
    # A folder of photographs may hold the label maps, too.
    own = known.get(plain) == label_map.as_posix()
    for name in (stem, plain) if own else (plain, stem):
        if name in known:
            return known[name]
    raise MissingInputError(
        f"{images}: no image with the name of {label_map}; give the folder of the images"
    )


class Davis:
    """DAVIS's annotations; see :class:`~unsam_cli.convert.dataset.Dataset`."""

    history: Sequence[dict[str, Any]] = ()

    def __init__(self, path: Path, settings: ReadSettings) -> None:
        tried = [path / "Annotations" / "480p", path / "Annotations_unsupervised" / "480p", path]
        folder = next(place for place in tried if place == path or place.is_dir())
        what = "the root of DAVIS, or a folder of sequences"
        self.paths = files_below(folder, ".png", what=what)
        names = [p.relative_to(folder).with_suffix(".jpg") for p in self.paths]
        if any(len(name.parts) < 2 for name in names):
            name = next(name for name in names if len(name.parts) < 2)
            raise DataError(
                f"{folder}: {name.stem}.png is not inside a sequence; give the parent folder"
            )
        self.images = numbered([name.as_posix() for name in names])

    @property
    def files(self) -> Sequence[Path]:
        """Return all files of the dataset."""
        return self.paths

    def load(self, image: SourceImage) -> Picture:
        """Read the objects of a frame, without pixels that the annotators did not decide."""
        labels, mode = read_pixels(self.paths[image.index])
        h, w = labels.shape
        found = [(value, rle) for value, rle in label_masks(labels) if value]
        # DAVIS 2016 has one object, in white. With a palette, pixels of label 255 do not count.
        if mode == "P" or len(found) > 1:
            found = [(value, rle) for value, rle in found if value != _VOID]
        sequence = Path(image.file_name).parent.as_posix()
        return Picture(h, w, [Truth(r, {"sequence": sequence, "object": v}) for v, r in found])

    def content(self, image: SourceImage) -> int | None:
        """Return a checksum of the label map of a frame."""
        return checksum(self.paths[image.index])


def open_label_maps(name: str, path: Path, settings: ReadSettings) -> LabelMaps | Davis:
    """Open a folder of label maps, or DAVIS."""
    return (Davis if name == "davis" else LabelMaps)(path, settings)
