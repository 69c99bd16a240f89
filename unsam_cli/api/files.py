"""Masks of files, as objects."""

from __future__ import annotations

import os
from pathlib import Path

from unsam_cli.api.masks import Masks
from unsam_cli.errors import MissingInputError
from unsam_cli.io.features import ImageEntry
from unsam_cli.io.masks import read_masks
from unsam_cli.io.names import Pictures


def read(path: str | os.PathLike[str], images: str | os.PathLike[str] | None = None) -> list[Masks]:
    """Read a masks file: of ``unsam``, or COCO from elsewhere.

    Parameters
    ----------
    path : path
        The file.
    images : path, optional
        Folder of the images. Without it, or where an image is missing, masks are drawn on white.

    Returns
    -------
    list of Masks
        One for each image, by ascending id.

    Raises
    ------
    UnsamError
        The file is missing or invalid, or lists no images.

    Examples
    --------
    >>> import unsam_cli as unsam
    >>> unsam.divide(unsam.features("photo.jpg", size=128)).save("objects.json")
    >>> unsam.read("objects.json", images=".")
    [<Masks: 3 masks of a 96 x 128 image>]
    """
    file = read_masks(Path(path))
    names = (image.file_name for image in file.images.values())
    pictures = None if images is None else Pictures(Path(images), names)
    history = file.info.get("unsam", {}).get("history", [])
    found = []
    for _, image in sorted(file.images.items()):
        picture = None
        if pictures is not None:
            try:
                picture = pictures.find(image.file_name)
            except MissingInputError:
                picture = None
        size, place = (image.height, image.width), image.georeference
        entry = ImageEntry(image.id, image.file_name, *size, georeference=place)
        found.append(Masks.from_annotations(file.annotations_of(image.id), entry, picture, history))
    return found
