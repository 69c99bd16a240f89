"""The images and positions of annotations of masks files, and what is checked over all of them."""

from __future__ import annotations

import logging
from array import array
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unsam_cli.errors import MaskFileError, counted
from unsam_cli.io.image_entries import ImageInfo
from unsam_cli.io.json_text import parse_json
from unsam_cli.io.left_out import LeftOut, number_of
from unsam_cli.io.sources import Source
from unsam_cli.io.text_ids import TextIds

logger = logging.getLogger(__name__)

FIELDS = 5  # numbers in a row
LATER = -(2**63)  # stands for an image that the file names elsewhere


@dataclass(frozen=True, slots=True)
class Form:
    """What a file must have.

    Attributes
    ----------
    sized : bool
        Whether all images have a height and a width.
    unique : bool
        Whether ids of annotations are unique.
    masks : bool
        Whether annotations have masks; those without are left out.
    annotations : bool
        Whether annotations are read at all.
    """

    sized: bool = True
    unique: bool = True
    masks: bool = True
    annotations: bool = True


ONLY_IMAGES = Form(sized=False, unique=False, masks=False, annotations=False)
"""For a file of which only the list of images is used."""


@dataclass(slots=True)
class Index:
    """Images and positions of annotations of one or more files.

    Attributes
    ----------
    form : Form
        What the files must have.
    images : dict
        Image entries by id.
    categories : dict
        Records of ``categories`` and ``part_categories``, by id: an integer or text.
    info : dict
        The object `info`; that of the last file if there are several.
    sources : list of Source
        The files.
    rows : array of int64
        Five numbers per annotation: its image, its number in its file from 1, the index of the
        file, its first byte and its length.
    crowds : Counter
        Number of annotations with ``iscrowd`` by image.
    names : dict
        Names of images in records of annotations, by the id there, as Ultralytics writes them.
    left_out : list of LeftOut
        Annotations without a mask.
    text_ids : dict
        Ids in the files, as text, by id, if any id of an image is text.
    texts : TextIds
        Ids of images that are text, and their provisional numbers.
    renumbered : set of int
        Indices of files whose ids of annotations are not all integers: the number of the record
        takes their place.
    repeated : int
        Number of entries that repeat the entry of an image.
    """

    form: Form = Form()
    images: dict[int, ImageInfo] = field(default_factory=dict)
    categories: dict[int | str, dict[str, Any]] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    sources: list[Source] = field(default_factory=list)
    rows: array[int] = field(default_factory=lambda: array("q"))
    crowds: Counter[int] = field(default_factory=Counter)
    names: dict[int, str] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    text_ids: dict[int, str] = field(default_factory=dict)
    texts: TextIds = field(default_factory=TextIds)
    renumbered: set[int] = field(default_factory=set)
    repeated: int = 0

    def table(self) -> NDArray[np.int64]:
        """Return the rows, (n, 5) int64, sorted by image and then in the order of the files."""
        rows = np.array(self.rows, dtype=np.int64).reshape(-1, FIELDS)
        return rows[np.argsort(rows[:, 0], kind="stable")]


def settle(index: Index, *, keep_going: bool = False, crowds: str | None = None) -> None:
    """Finish an index of all files: number ids that are text, and check what refers to what.

    Parameters
    ----------
    index : Index
        The index, which is changed.
    keep_going : bool
        Leave out annotations whose image is not listed, instead of raising an error.
    crowds : {'ignore', 'masks'}, optional
        'masks' counts crowd regions as masks; 'ignore' warns where they are most of a file.

    Raises
    ------
    MaskFileError
        The image of an annotation is not listed, or no annotation has a mask.
    """
    if index.texts:
        _number_texts(index)
    _check_image_ids(index, keep_going)
    _warn_of_shared_names(index)
    if index.repeated:
        repeated = counted(index.repeated, "image")
        logger.warning("%s: %s listed again; once counts", index.sources[0].name, repeated)
    if index.form.masks:
        _tell_left_out(index)
    if crowds == "masks":
        index.crowds.clear()
    elif crowds == "ignore" and index.form.masks:
        _tell_crowds(index)


def _number_texts(index: Index) -> None:
    """Give the images the ids 1, 2, 3... in the order of the files, or of their annotations."""
    rows = np.array(index.rows, dtype=np.int64).reshape(-1, FIELDS)
    used = [*index.images, *rows[:, 0].tolist(), *(one.image_id for one in index.left_out)]
    finals, index.text_ids = index.texts.final(list(dict.fromkeys(used)))
    rows[:, 0] = [finals[number] for number in rows[:, 0].tolist()]
    index.rows = array("q", rows.ravel().tolist())
    index.images = {finals[i]: replace(image, id=finals[i]) for i, image in index.images.items()}
    index.crowds = Counter({finals[i]: n for i, n in index.crowds.items() if i in finals})
    index.names = {finals[i]: name for i, name in index.names.items() if i in finals}
    index.left_out = [replace(one, image_id=finals[one.image_id]) for one in index.left_out]
    logger.warning(
        "%s: ids of images are text; they are numbered from 1 in the order of the file",
        index.sources[0].name,
    )


def _check_image_ids(index: Index, keep_going: bool) -> None:
    if not index.images:
        return
    table = index.table()
    known = np.fromiter(index.images, dtype=np.int64)
    strange = table[~np.isin(table[:, 0], known)]
    if not len(strange):
        return
    image, number, source = strange[0, :3].tolist()
    name = index.sources[source].name
    shown = index.text_ids.get(image, image)
    if not keep_going:
        raise MaskFileError(
            f"{name}: record {number} of the annotations belongs to image {shown}, which is not "
            "among the images; add the image or remove the annotation"
        )
    index.rows = array("q", table[np.isin(table[:, 0], known)].ravel().tolist())
    index.left_out += [_stray(index, row) for row in strange.tolist()]


def _stray(index: Index, row: list[int]) -> LeftOut:
    """Return the annotation of a row, whose image is not listed; its record is sound JSON."""
    image, number, source, start, length = row
    record = parse_json(index.sources[source].read_at(start, length))
    shown = index.text_ids.get(image, image)
    return LeftOut(image, number_of(record, number), f"its image {shown} is not among the images")


def _warn_of_shared_names(index: Index) -> None:
    """Warn of images with one name and several ids: each lacks the masks of the others."""
    ids: dict[str, int] = {}
    shared = []
    for image in index.images.values():
        other = ids.setdefault(image.file_name, image.id)
        if other != image.id:
            shared.append((image.file_name, other, image.id))
    if shared:
        name, first, second = shared[0]
        logger.warning(
            "%s: %s with the file_name of another image, such as %s (ids %d and %d): each of them "
            "has a part of the masks; give them one id",
            *(index.sources[0].name, counted(len(shared), "image"), name, first, second),
        )


def _tell_left_out(index: Index) -> None:
    if not index.left_out:
        return
    name, first, left = index.sources[0].name, index.left_out[0], len(index.rows) // FIELDS
    every = len(index.left_out) + left
    if not left:
        raise MaskFileError(
            f"{name}: none of its {every} annotations has a mask; annotation "
            f"{first.annotation}: {first.reason}"
        )
    logger.warning(
        "%s: left out %d of %d annotations, such as annotation %s: %s",
        *(name, len(index.left_out), every, first.annotation, first.reason),
    )


def _tell_crowds(index: Index) -> None:
    crowds, every = index.crowds.total(), len(index.rows) // FIELDS
    if 2 * crowds > every:
        logger.warning(
            "%s: %d of %d annotations are crowd regions (iscrowd is 1), which are not masks of "
            "objects; some tools mark every RLE as a crowd: --crowds masks counts them",
            *(index.sources[0].name, crowds, every),
        )
