"""Annotated images, read one by one because the files can exceed the memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unsam_cli.errors import DataError, UnsamError
from unsam_cli.io.annotations import Annotation
from unsam_cli.io.image_entries import ImageInfo
from unsam_cli.io.images import read_image
from unsam_cli.io.masks import MasksFile, read_masks
from unsam_cli.io.names import Pictures
from unsam_cli.io.sizes import check_size
from unsam_cli.rle import Rle
from unsam_cli.training.recipe import DataSettings
from unsam_cli.training.selection import select
from unsam_cli.training.skipped import Skipped, as_skipped

_REMEMBERED = 1024  # number of images whose selected masks are cached


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """An image and its masks as they are stored.

    Attributes
    ----------
    file_name : str
        File name in the annotations.
    pixels : (H, W, 3) uint8
        RGB.
    masks : list of Rle
        Selected masks, without crowds; a uniform random sample if there are too many.
    """

    file_name: str
    pixels: NDArray[np.uint8]
    masks: list[Rle]


class AnnotatedImages:
    """Images and masks of one or more masks files.

    Instances can be pickled; a process that unpickles one reads the files again.

    Parameters
    ----------
    files : sequence of Path
        Masks files of any format that lists its images, or folders of them. Each image may be in
        one file only.
    folder : Path
        Folder of the images.
    settings : DataSettings
        Which images and masks are used.

    Raises
    ------
    UnsamError
        A file is missing, invalid or lists no images, an image is in two files, the first image
        does not exist, or there is no image to train on.
    """

    def __init__(self, files: Sequence[Path], folder: Path, settings: DataSettings) -> None:
        self._arguments = (tuple(files), folder, settings)
        self._settings = settings
        self._files = [_open(path, settings) for path in files]
        self._selected = lru_cache(_REMEMBERED)(self._select)
        _refuse_repeated(self._files, files)
        self._places, self.without_masks = _list_images(self._files, settings)
        if not len(self._places):
            names = ", ".join(map(str, files))
            crowds = sum(masks.crowds for masks in self._files)
            hint = f", only {crowds} crowd regions: use --crowds masks" if crowds else ""
            raise DataError(f"{names}: no image has a mask{hint}; give annotations with masks")
        listed = (image.file_name for masks in self._files for image in masks.images.values())
        self._pictures = Pictures(folder, listed)
        self.path(0)  # report a wrong folder at once

    def __len__(self) -> int:
        return len(self._places)

    def __reduce__(self) -> tuple[Any, ...]:
        return AnnotatedImages, self._arguments

    @property
    def history(self) -> list[dict[str, Any]]:
        """Processing steps that led to the masks of all files, without repetitions."""
        steps: list[dict[str, Any]] = []
        for masks in self._files:
            found = masks.info.get("unsam", {}).get("history", [])
            steps += [step for step in found if step not in steps]
        return steps

    def info(self, index: int) -> ImageInfo:
        """Return the name and size of the image at `index`."""
        file, image_id = self._places[index].tolist()
        info: ImageInfo = self._files[file].images[image_id]
        return info

    def read(self, index: int, rng: np.random.Generator) -> AnnotatedImage:
        """Read an image and its masks.

        Parameters
        ----------
        index : int
            Index of the image, from 0.
        rng : numpy.random.Generator
            Draws masks if there are more than `max_masks`.

        Raises
        ------
        UnsamError
            The image is missing, damaged or of another size than its annotations, or an annotation
            is invalid.
        """
        found = self.annotations(index, rng)
        pixels = self.pixels(index)
        return AnnotatedImage(self.info(index).file_name, pixels, [a.rle for a in found])

    def path(self, index: int) -> Path:
        """Return the path of an image's file.

        Raises
        ------
        MissingInputError
            It does not exist.
        """
        return self._pictures.find(self.info(index).file_name)

    def paths(self) -> Iterator[Path]:
        """Yield the paths of all images that exist; reading a missing one raises later."""
        for index in range(len(self)):
            with suppress(UnsamError):
                yield self.path(index)

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """Read an image, (H, W, 3) uint8 RGB.

        Raises
        ------
        UnsamError
            It is missing, damaged or of another size than its annotations.
        """
        info, path = self.info(index), self.path(index)
        pixels = read_image(path)
        check_size(path, pixels.shape, (info.height, info.width))
        return pixels

    def annotations(self, index: int, rng: np.random.Generator) -> list[Annotation]:
        """Read the selected masks of an image, without crowds.

        If there are more than `max_masks`, `rng` draws that many.

        Raises
        ------
        DataError
            A mask is invalid.
        """
        file, image_id = self._places[index].tolist()
        found = self._selected(file, image_id)
        most = self._settings.max_masks or len(found)
        if len(found) > most:
            found = [found[i] for i in sorted(rng.choice(len(found), most, replace=False))]
        return found

    def left_out(self, index: int) -> tuple[Skipped, ...]:
        """Return the annotations that were left out of an image that has been read.

        They have no mask or are invalid; none if the first invalid one ends the run.
        """
        if self._settings.on_error == "fail":
            return ()
        file, image_id = self._places[index].tolist()
        name = self.info(index).file_name
        return tuple(as_skipped((name, one) for one in self._files[file].left_out.of(image_id)))

    @property
    def strays(self) -> list[Skipped]:
        """Annotations that belong to no image of their file; none if they end the run."""
        if self._settings.on_error == "fail":
            return []
        return as_skipped(one for masks in self._files for one in masks.strays)

    def _select(self, file: int, image_id: int) -> list[Annotation]:
        masks = self._files[file]
        every = masks.annotations_of(image_id)
        if not every and (bad := masks.left_out.invalid(image_id)):
            raise DataError(
                f"{masks.name}: image {image_id}: none of its annotations can be read: "
                f"{bad[-1].reason}; fix them"
            )
        return select([a for a in every if not a.iscrowd], self._settings)


def _open(path: Path, settings: DataSettings) -> MasksFile:
    masks = read_masks(path, on_error=settings.on_error, crowds=settings.crowds)
    if not masks.images:
        raise DataError(f"{path}: lists no images; give a full COCO file, not bare results")
    return masks


def _refuse_repeated(files: Sequence[MasksFile], paths: Sequence[Path]) -> None:
    """Refuse images that are in two files: each file would lack the masks of the other."""
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
    """Return file index and id of the images to use, (N, 2), and the number without masks."""
    places, empty = [], 0
    for number, masks in enumerate(files):
        counts = masks.counts(crowds=False)
        ids = sorted(masks.images)
        with_masks = [i for i in ids if counts.get(i)]
        empty += len(ids) - len(with_masks)
        chosen = with_masks if settings.empty_images == "skip" else ids
        places.append(np.array([(number, i) for i in chosen], dtype=np.int64).reshape(-1, 2))
    return np.concatenate(places), empty
