"""Annotated images, read one by one, because files can exceed the memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unsam_cli.errors import DataError, ImageFileError, UnsamError
from unsam_cli.io.annotations import Annotation
from unsam_cli.io.images import find_image, read_image
from unsam_cli.io.masks import ImageInfo, MasksFile, read_masks
from unsam_cli.rle import Rle
from unsam_cli.training.recipe import DataSettings
from unsam_cli.training.selection import select

_REMEMBERED = 1024  # images whose masks need not be read and chosen again


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """An image and its masks, as they were stored.

    Attributes
    ----------
    file_name : str
        As the annotations call it.
    pixels : (H, W, 3) uint8
        RGB.
    masks : list of Rle
        Without crowds; a uniform sample where there are too many.
    """

    file_name: str
    pixels: NDArray[np.uint8]
    masks: list[Rle]


class AnnotatedImages:
    """Images and masks of one or more masks files.

    Can be sent to other processes, which read the files again if memory is not shared.

    Parameters
    ----------
    files : sequence of Path
        Masks files of any form that list their images, or folders of them. Each image is in one.
    folder : Path
        Of the images.
    settings : DataSettings
        Which images and masks are taken.

    Raises
    ------
    UnsamError
        A file is missing or invalid, lists no images, an image is in two files, the first image
        cannot be found, or there is no image to learn from.
    """

    def __init__(self, files: Sequence[Path], folder: Path, settings: DataSettings) -> None:
        self._arguments = (tuple(files), folder, settings)
        self._folder, self._settings = folder, settings
        self._files = [_open(path) for path in files]
        self._selected = lru_cache(_REMEMBERED)(self._select)
        _refuse_repeated(self._files, files)
        self._places, self.without_masks = _list_images(self._files, settings)
        if not len(self._places):
            names = ", ".join(map(str, files))
            raise DataError(f"{names}: no image has a mask; give annotations with masks")
        find_image(folder, self.info(0).file_name)  # a wrong folder is told before all else

    def __len__(self) -> int:
        return len(self._places)

    def __reduce__(self) -> tuple[Any, ...]:
        return AnnotatedImages, self._arguments

    @property
    def history(self) -> list[dict[str, Any]]:
        """Steps that led to the masks, of all files, each once."""
        steps: list[dict[str, Any]] = []
        for masks in self._files:
            found = masks.info.get("unsam", {}).get("history", [])
            steps += [step for step in found if step not in steps]
        return steps

    def info(self, index: int) -> ImageInfo:
        """Name and size of an image."""
        file, image_id = self._places[index].tolist()
        info: ImageInfo = self._files[file].images[image_id]
        return info

    def read(self, index: int, rng: np.random.Generator) -> AnnotatedImage:
        """Read an image and its masks.

        Parameters
        ----------
        index : int
            Of the image.
        rng : numpy.random.Generator
            Chooses masks where there are more than are wanted.

        Raises
        ------
        UnsamError
            The image is missing, damaged or of another size than its annotations say, or one of
            them is invalid.
        """
        found = self.annotations(index, rng)
        pixels = self.pixels(index)
        return AnnotatedImage(self.info(index).file_name, pixels, [a.rle for a in found])

    def path(self, index: int) -> Path:
        """Find the file of an image.

        Raises
        ------
        MissingInputError
            It is not there.
        """
        return find_image(self._folder, self.info(index).file_name)

    def paths(self) -> Iterator[Path]:
        """Yield the existing files of all images; reading reports the missing ones."""
        for index in range(len(self)):
            with suppress(UnsamError):
                yield self.path(index)

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """Read an image, (H, W, 3) uint8 RGB.

        Raises
        ------
        UnsamError
            It is missing, damaged or of another size than its annotations say.
        """
        info, path = self.info(index), self.path(index)
        pixels = read_image(path)
        if pixels.shape[:2] != (info.height, info.width):
            raise other_size(path, pixels.shape[:2], (info.height, info.width))
        return pixels

    def annotations(self, index: int, rng: np.random.Generator) -> list[Annotation]:
        """Read the masks of an image, without crowds; `rng` chooses where there are too many.

        Raises
        ------
        DataError
            One of them is invalid.
        """
        file, image_id = self._places[index].tolist()
        found = self._selected(file, image_id)
        most = self._settings.max_masks or len(found)
        if len(found) > most:
            found = [found[i] for i in sorted(rng.choice(len(found), most, replace=False))]
        return found

    def _select(self, file: int, image_id: int) -> list[Annotation]:
        found = [a for a in self._files[file].annotations_of(image_id) if not a.iscrowd]
        return select(found, self._settings)


def other_size(path: Path, found: tuple[int, ...], wanted: tuple[int, int]) -> ImageFileError:
    """Return the error of an image with another size than its annotations; sizes are (H, W)."""
    return ImageFileError(
        f"{path}: has {found[1]} x {found[0]} pixels, but its annotations are for "
        f"{wanted[1]} x {wanted[0]}; give the annotated images"
    )


def _open(path: Path) -> MasksFile:
    masks = read_masks(path)
    if not masks.images:
        raise DataError(f"{path}: lists no images; give a full COCO file, not bare results")
    return masks


def _refuse_repeated(files: Sequence[MasksFile], paths: Sequence[Path]) -> None:
    """Refuse an image with masks in two files: each file would lack the masks of the other."""
    if len(files) == 1:
        return
    seen: dict[str, int] = {}
    for number, masks in enumerate(files):
        for info in masks.images.values():
            other = seen.setdefault(info.file_name, number)
            if other != number:
                raise DataError(
                    f"{paths[number]}: {info.file_name} is also in {paths[other]}; join the "
                    "files with unsam merge --union"
                )


def _list_images(
    files: Sequence[MasksFile], settings: DataSettings
) -> tuple[NDArray[np.int64], int]:
    """Return file and id of the images to learn from, (N, 2), and how many have no masks."""
    places, empty = [], 0
    for number, masks in enumerate(files):
        counts = masks.counts(crowds=False)
        ids = sorted(masks.images)
        with_masks = [i for i in ids if counts.get(i)]
        empty += len(ids) - len(with_masks)
        chosen = with_masks if settings.empty_images == "skip" else ids
        places.append(np.array([(number, i) for i in chosen], dtype=np.int64).reshape(-1, 2))
    return np.concatenate(places), empty
