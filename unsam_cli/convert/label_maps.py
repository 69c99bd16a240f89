"""Read pictures whose pixels are labels: any folder of them, and DAVIS."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unsam_cli.convert.dataset import (
    Picture,
    SourceImage,
    Truth,
    files_below,
    numbered,
)
from unsam_cli.convert.settings import ReadSettings
from unsam_cli.errors import DataError, ImageFileError, MissingInputError
from unsam_cli.io.files import check_regular
from unsam_cli.io.files import files_below as regular_files_below
from unsam_cli.io.kinds import mistaken_file
from unsam_cli.io.suffixes import IMAGE_SUFFIXES
from unsam_cli.rle import Rle, from_runs
from unsam_cli.run.provenance import checksum

LabelArray = NDArray[np.int64]
_MARKED = re.compile(
    r"[_\-. ](mask|masks|label|labels|labelids|seg|segmentation|gt|annotation|instances?)$", re.I
)
_VOID = 255  # label of DAVIS for pixels that do not count


def read_labels(path: Path) -> LabelArray:
    """Read the labels of a picture.

    Returns
    -------
    (H, W) int64
        Labels: indices of a palette, grey values of 8 or 16 bits, or R + 256 G + 65536 B.

    Raises
    ------
    MissingInputError
        The file does not exist.
    ImageFileError
        The file is not a picture, is damaged, or is of a kind that cannot hold labels.
    """
    return read_pixels(path)[0]


def read_pixels(path: Path) -> tuple[LabelArray, str]:
    """Read the labels of a picture, (H, W) int64, and its mode in Pillow; see `read_labels`."""
    check_regular(path, error=ImageFileError)
    if text := mistaken_file(path, "image"):
        raise ImageFileError(f"{path}: {text}")
    try:
        with Image.open(path) as image:
            if image.format in ("JPEG", "WEBP", "MPO"):
                raise ImageFileError(f"{path}: {image.format} does not preserve labels; give PNG")
            pixels, mode = np.asarray(image), image.mode
    except ImageFileError:
        raise
    except FileNotFoundError:
        raise MissingInputError(f"{path}: no such file") from None
    except Exception as error:  # damaged files may raise any error
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ImageFileError(f"{path}: not a label map ({reason}); copy it again") from error
    if pixels.ndim == 3 and mode in ("RGB", "RGBA"):
        r, g, b = (pixels[..., i].astype(np.int64) for i in range(3))
        return r + 256 * g + 65536 * b, mode
    if pixels.ndim == 2 and pixels.dtype.kind == "f" and _are_whole(pixels):
        return pixels.astype(np.int64), mode
    if pixels.ndim != 2 or pixels.dtype.kind not in "uib":
        raise ImageFileError(
            f"{path}: pixels of mode {mode} are not labels; give a grey or palette image"
        )
    return pixels.astype(np.int64), mode


def _are_whole(values: NDArray[np.floating[Any]]) -> bool:
    return bool(np.isfinite(values).all() and (values == np.floor(values)).all())


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
    what = "a folder of label maps (PNG or TIFF)"
    for suffix in (".tif", ".tiff"):
        if not any(regular_files_below(folder, (".png",))) and any(
            regular_files_below(folder, (suffix,))
        ):
            return [p.relative_to(folder) for p in files_below(folder, suffix, what=what)]
    return [p.relative_to(folder) for p in files_below(folder, ".png", what=what)]


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
