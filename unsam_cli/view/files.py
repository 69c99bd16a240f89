"""Pictures in, pictures with masks out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unsam_cli.errors import DataError, MaskFileError, OutputError, UnsamError
from unsam_cli.io.drawings import save_drawing
from unsam_cli.io.images import read_image
from unsam_cli.io.masks import ImageMasks
from unsam_cli.io.names import Pictures
from unsam_cli.io.sizes import check_shape
from unsam_cli.run.names import name_below, unique_names
from unsam_cli.run.output import check_output, publish
from unsam_cli.view.blocks import LoadImage, OnError
from unsam_cli.view.overlays import draw_over


def image_loader(root: Path, names: Iterable[str] = (), *, longest: int | None = None) -> LoadImage:
    """Make a function that reads the picture of an image entry.

    Parameters
    ----------
    root : Path
        Folder of the images.
    names : iterable of str
        The names of all images, see :class:`~unsam_cli.io.names.Pictures`.
    longest : int, optional
        Length of the longer side that is needed, in pixels. Much larger JPEGs are then decoded at
        a reduced size, which is much faster.

    Returns
    -------
    callable
        Returns the picture, (H, W, 3) uint8, of an image entry of a masks file. It raises an
        UnsamError if the picture is missing, cannot be read or does not fit its masks.
    """
    pictures = Pictures(root, names)

    def load(image: dict[str, Any]) -> NDArray[np.uint8]:
        if "file_name" not in image:
            raise MaskFileError(
                f"image {image.get('id')}: the masks file does not give its file name; give "
                "a full COCO file, with a list of images"
            )
        path = pictures.find(image["file_name"])
        pixels = read_image(path, longest=longest)
        check_shape(path, pixels.shape, (image["height"], image["width"]))
        return pixels

    return load


@dataclass(frozen=True, slots=True)
class ImageName:
    """An image with its name in messages."""

    id: int
    file_name: str


def named(image: dict[str, Any]) -> ImageName:
    """Return the name of an image entry, or its id if the file lists no images."""
    return ImageName(image["id"], str(image.get("file_name", image["id"])))


def overlay_paths(images: Iterable[ImageName], folder: Path) -> dict[int, Path]:
    """Return the path of each overlay by image id, without names that leave the folder."""
    sound = []
    for image in images:
        with suppress(DataError):
            name_below(image.file_name)
            sound.append(image)
    return {i: folder / name for i, name in unique_names(sound, ".png").items()}


def write_overlays(
    images: Iterable[ImageMasks],
    load_image: LoadImage,
    paths: Mapping[int, Path],
    *,
    depth: int | None = None,
    opacity: float = 0.5,
    no_clobber: bool = False,
    on_error: OnError | None = None,
) -> int:
    """Write every image with its masks as PNG, one at a time; each appears whole or not at all.

    Parameters
    ----------
    images : iterable of ImageMasks
        Images, each with its annotations.
    load_image : callable
        Returns the picture of an image entry, (H, W, 3) uint8, which is drawn on.
    paths : mapping of Path
        Path of each overlay by image id, see :func:`overlay_paths`. Missing folders are created.
    depth, opacity
        See :func:`~unsam_cli.view.overlays.draw_overlay`.
    no_clobber : bool
        Refuse to replace an existing file.
    on_error : callable, optional
        Called with an image entry and its error; the image is then left out. By default the first
        error is raised.

    Returns
    -------
    int
        Number of files written.

    Raises
    ------
    UnsamError
        An image cannot be drawn and `on_error` is not given, or a file cannot be written.
    """
    written = 0
    for entry in images:
        try:
            name_below(named(entry.image).file_name)
            rgb = load_image(entry.image)
            draw_over(rgb, entry.annotations, depth=depth, opacity=opacity)
        except UnsamError as error:
            if on_error is None:
                raise
            on_error(entry.image, error)
            continue
        _save(rgb, paths[entry.image["id"]], no_clobber=no_clobber)
        written += 1
    return written


def _save(rgb: NDArray[np.uint8], path: Path, *, no_clobber: bool) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path.parent}: {error.strerror}; choose another folder") from error
    check_output(str(path), binary=False, no_clobber=no_clobber)
    # Level 1 of zlib: higher levels take several times as long and gain little on photographs.
    publish(str(path), partial(save_drawing, Image.fromarray(rgb), level=1), follow=False)
