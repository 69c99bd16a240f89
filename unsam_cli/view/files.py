"""Pictures in, pictures with masks out."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unsam_cli.errors import DataError, MaskFileError, OutputError, UnsamError
from unsam_cli.io.images import find_image, read_image
from unsam_cli.io.masks import ImageMasks
from unsam_cli.run.output import check_output, publish
from unsam_cli.view.blocks import LoadImage, OnError
from unsam_cli.view.overlays import draw_overlay


def image_loader(root: Path, *, longest: int | None = None) -> LoadImage:
    """Make a function that reads the picture of an image entry.

    Parameters
    ----------
    root : Path
        Folder of the images.
    longest : int, optional
        Pixels of the longer side that are needed, as by a report: much larger JPEGs are then read
        at a reduced size, in a fraction of the time.

    Returns
    -------
    callable
        From an image entry of a masks file to (H, W, 3) uint8. Raises UnsamError.
    """

    def load(image: dict[str, Any]) -> NDArray[np.uint8]:
        if "file_name" not in image:
            raise MaskFileError(
                f"image {image.get('id')}: the masks file does not say which file it is; "
                "give a full COCO file, with a list of images"
            )
        return read_image(find_image(root, image["file_name"]), longest=longest)

    return load


def write_overlays(
    images: Iterable[ImageMasks],
    load_image: LoadImage,
    folder: Path,
    *,
    depth: int | None = None,
    opacity: float = 0.5,
    no_clobber: bool = False,
    on_error: OnError | None = None,
) -> int:
    """Write every image with its masks as PNG, one at a time.

    ``a/b.jpg`` becomes ``a/b.png`` in the folder, or ``a/b.jpg.png`` where another image has taken
    that name, or ``a/b.jpg.ID.png`` where that is taken as well. Each file appears whole or not
    at all.

    Parameters
    ----------
    images : iterable of ImageMasks
        Images, each with its annotations.
    load_image : callable
        Gives the picture, (H, W, 3) uint8, for an image entry.
    folder : Path
        Made where it does not exist.
    depth, opacity
        See :func:`~unsam_cli.view.overlays.draw_overlay`.
    no_clobber : bool
        Refuse to replace an existing file.
    on_error : callable, optional
        Takes an image entry and what is wrong with it; the image is then left out. By default the
        first error is raised.

    Returns
    -------
    int
        Files written.

    Raises
    ------
    UnsamError
        An image is bad and `on_error` is not given, or a file cannot be written.
    """
    taken: set[Path] = set()
    for entry in images:
        try:
            path = _overlay_path(folder, entry.image, taken)
            rgb = draw_overlay(
                load_image(entry.image), entry.annotations, depth=depth, opacity=opacity
            )
        except UnsamError as error:
            if on_error is None:
                raise
            on_error(entry.image, error)
            continue
        taken.add(path)
        _save(rgb, path, no_clobber=no_clobber)
    return len(taken)


def _overlay_path(folder: Path, image: dict[str, Any], taken: set[Path]) -> Path:
    name = PurePath(str(image.get("file_name", image.get("id"))))
    if not name.name or name.is_absolute() or ".." in name.parts or "\0" in str(name):
        raise DataError(f"file_name {str(name)!r:.200} is not a path below a folder; mend the file")
    names = (str(name.with_suffix(".png")), f"{name}.png", f"{name}.{image.get('id')}.png")
    return next(folder / file for file in names if folder / file not in taken)


def _save(rgb: NDArray[np.uint8], path: Path, *, no_clobber: bool) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path.parent}: {error.strerror}; choose another folder") from error
    check_output(str(path), binary=False, no_clobber=no_clobber)
    # Level 1 of zlib: photographs gain little from more, at several times the time.
    write = partial(Image.fromarray(rgb).save, format="PNG", compress_level=1)
    publish(str(path), write, follow=False)
