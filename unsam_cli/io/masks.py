"""Read masks files, COCO JSON in all common forms, image by image.

These forms are full COCO objects, bare lists of results, one annotation per line, and SA-1B files
or folders of them, with or without gzip. Masks are polygons or RLE, compressed or not.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unsam_cli.errors import MaskFileError, UnsamError
from unsam_cli.io.annotations import Annotation, NoMaskError, annotation
from unsam_cli.io.image_entries import ImageInfo
from unsam_cli.io.left_out import LeftOut, LeftOuts, number_of
from unsam_cli.io.masks_index import add_source
from unsam_cli.io.masks_table import Form, Index, settle
from unsam_cli.io.masks_texts import MaskTexts
from unsam_cli.io.sources import Spool, json_files, open_path

__all__ = ["Annotation", "ImageMasks", "MasksFile", "read_masks"]


@dataclass(frozen=True, slots=True)
class ImageMasks:
    """An image and its masks.

    Attributes
    ----------
    image : dict
        `id`; `file_name`, `height`, `width`, `georeference` as far as the file lists them.
    annotations : list of Annotation
        In the order of the file.
    """

    image: dict[str, Any]
    annotations: list[Annotation]


class MasksFile:
    """An indexed masks file, whose annotations are read and checked on demand.

    Several threads may use it.

    Attributes
    ----------
    images : dict
        `ImageInfo` by id; empty if the file lists no images, as a bare list of results.
    categories : dict
        Records of ``categories`` and ``part_categories``, by id.
    info : dict
        The object `info` of the file, whose key `unsam` is the provenance.
    text_ids : dict
        Ids in the file, as text, by id, if any id of an image is text.
    names : dict
        Names of images by id: those listed, else those in the annotations, else ids that are text.
    name : str
        Name of the file, or of the first file, in messages.
    keep_going : bool
        Whether invalid annotations are left out.
    left_out : LeftOuts
        Annotations without a mask, and invalid ones that have been read.
    """

    def __init__(self, index: Index, spool: Spool, *, keep_going: bool, crowds: str | None) -> None:
        self.images = index.images
        self.categories = index.categories
        self.info = index.info
        self.text_ids = index.text_ids
        listed = {i: image.file_name for i, image in index.images.items()}
        self.names = listed or {**index.text_ids, **index.names}
        self.name = index.sources[0].name
        self.keep_going = keep_going
        self.left_out = LeftOuts(index.left_out)
        self._texts = MaskTexts(index, crowds_as_masks=crowds == "masks")
        self._crowds = index.crowds
        self._spool = spool  # kept alive for the sources

    def __len__(self) -> int:
        """Count the annotations."""
        return len(self._texts.rows)

    @property
    def unique_ids(self) -> bool:
        """Whether ids of annotations are unique and final: those of a folder or of a shard are not.

        ``merge`` numbers the annotations of shards, each of which begins with 1.
        """
        own = self.info.get("unsam", {})
        return len(self._texts.sources) == 1 and not (isinstance(own, dict) and own.get("shard"))

    @property
    def image_ids(self) -> list[int]:
        """Ids of the images that are listed or have annotations, ascending."""
        found: list[int] = np.unique(self._texts.rows[:, 0]).tolist()
        return sorted(self.images.keys() | set(found))

    def counts(self, *, crowds: bool = True) -> dict[int, int]:
        """Count the annotations of every image that has any, with or without crowd regions."""
        ids, found = np.unique(self._texts.rows[:, 0], return_counts=True)
        every = dict(zip(ids.tolist(), found.tolist(), strict=True))
        return every if crowds else {i: n - self._crowds[i] for i, n in every.items()}

    @property
    def strays(self) -> list[tuple[str, LeftOut]]:
        """Annotations that are left out and belong to no listed image, with its id as text."""
        if not self.images:
            return []
        odd = [one for one in self.left_out.every if one.image_id not in self.images]
        return [(self.text_ids.get(one.image_id, str(one.image_id)), one) for one in odd]

    @property
    def crowds(self) -> int:
        """Number of crowd regions; 0 if they count as masks."""
        return self._crowds.total()

    def annotations_of(self, image_id: int) -> list[Annotation]:
        """Read the annotations of one image, in the order of the file; none for an unknown one.

        Annotations without a mask are left out, and invalid ones if the file was opened so; see
        :attr:`left_out`.

        Raises
        ------
        MaskFileError
            An annotation is invalid; the message names it.
        """
        return [one for _, one in self.pairs_of(image_id, self.images.get(image_id))]

    def pairs_of(
        self, image_id: int, image: ImageInfo | None
    ) -> list[tuple[dict[str, Any], Annotation]]:
        """Read the annotations of one image, each with its record; see :meth:`annotations_of`.

        `image` is the entry of the image, with its size.
        """
        found: list[tuple[dict[str, Any], Annotation]] = []
        bad: list[LeftOut] = []
        for name, number, record in self._texts.records(image_id):
            try:
                one = annotation(record, number=number, image_id=image_id, image=image)
                found.append((record, one))
            except ValueError as error:
                if not self.keep_going and not isinstance(error, NoMaskError):
                    raise MaskFileError(f"{name}: {error}; fix or remove it") from error
                bad.append(LeftOut(image_id, number_of(record, number), str(error)))
        self.left_out.record(image_id, bad)
        return found

    def checksum(self, image_id: int) -> int:
        """Return a checksum of the annotations of an image in the file."""
        found = 0
        for _, text in self._texts.of(image_id):
            found = zlib.crc32(text, found)
        return found

    def records_of(self, image_id: int) -> list[tuple[str, dict[str, Any]]]:
        """Parse the annotations of one image without checking their keys.

        Returns
        -------
        list of (name, record)
            Records in the order of the file. The name identifies file and annotation in messages.

        Raises
        ------
        MaskFileError
            The file has changed since it was opened.
        """
        return [(name, record) for name, _, record in self._texts.records(image_id)]

    def image_masks(
        self, on_error: Callable[[dict[str, Any], UnsamError], None] | None = None
    ) -> Iterator[ImageMasks]:
        """Yield every image with its masks, by ascending id.

        Parameters
        ----------
        on_error : callable, optional
            Called with an image entry and the error of its annotations; the image is left out.

        Raises
        ------
        MaskFileError
            An annotation is invalid and `on_error` is not given; the message names it.
        """
        for image_id in self.image_ids:
            info = self.images.get(image_id)
            image = info.to_json() if info else {"id": image_id}
            try:
                found = self.annotations_of(image_id)
            except MaskFileError as error:
                if on_error is None:
                    raise
                on_error(image, error)
            else:
                yield ImageMasks(image, found)


def read_masks(
    source: Path,
    *,
    name: str | None = None,
    on_error: str = "fail",
    crowds: str | None = None,
    form: Form | None = None,
) -> MasksFile:
    """Open a masks file of any form.

    All records are found now, and their ids are checked. Masks are checked when they are read.

    Parameters
    ----------
    source : Path
        A file, or a folder of ``.json`` files.
    name : str, optional
        Name of a single file in messages; its path by default.
    on_error : {'fail', 'skip'}
        Whether an invalid annotation is an error or is left out.
    crowds : {'ignore', 'masks'}, optional
        Whether crowd regions are read as such or as masks, if the command leaves that to its user:
        a warning says where they are most of a file.
    form : Form, optional
        What the file must have; by default sizes of images, masks and unique ids.

    Raises
    ------
    MissingInputError
        The file does not exist, or the folder has no files.
    MaskFileError
        It is not a masks file, one of its records is invalid, or none of them has a mask.
    """
    index, spool = Index(form or Form()), Spool()
    if os.path.isdir(source):
        for path in json_files(source):
            add_source(index, open_path(path, spool))
    else:
        add_source(index, open_path(source, spool, name))
    settle(index, keep_going=on_error == "skip", crowds=crowds)
    return MasksFile(index, spool, keep_going=on_error == "skip", crowds=crowds)
