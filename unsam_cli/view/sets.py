"""Several masks files over the same photographs."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from unsam_cli.errors import DataError, UnsamError, UsageError, counted
from unsam_cli.io.masks import Annotation, MasksFile
from unsam_cli.io.names import base_name, canonical
from unsam_cli.run.inputs import name_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Photograph:
    """An image with its masks in every file.

    Attributes
    ----------
    image : dict
        `id`, and `file_name`, `height` and `width` if a file lists images; as in the first file.
    sets : tuple of list of Annotation
        The masks of each file, in the order of the file.
    """

    image: dict[str, Any]
    sets: tuple[list[Annotation], ...]


class MaskSets:
    """Masks files with names; the first one says which images there are.

    Parameters
    ----------
    names : sequence of str
        How the files are called in pictures.
    files : sequence of MasksFile
        The files.
    places : sequence of str
        Names of the files in messages.

    Raises
    ------
    DataError
        A file has no image in common with the first one.
    """

    def __init__(
        self, names: Sequence[str], files: Sequence[MasksFile], places: Sequence[str]
    ) -> None:
        self.names, self.files = tuple(names), tuple(files)
        self._ids = [_ids_in(files[0], other) for other in files]
        for file, ids, place in zip(files, self._ids, places, strict=True):
            _refuse_strangers(files[0], file, ids, places[0], place)

    @property
    def image_ids(self) -> list[int]:
        """Ids of the images in the first file, ascending."""
        return self.files[0].image_ids

    def image(self, image_id: int) -> dict[str, Any]:
        """Return the entry of an image, of the first file that lists it."""
        for file, ids in zip(self.files, self._ids, strict=True):
            info = file.images.get(ids.get(image_id, -1)) if image_id in ids else None
            if info is not None:
                return {**info.to_json(), "id": image_id}
        return {"id": image_id}

    def photograph(self, image_id: int) -> Photograph:
        """Read the masks of one image in every file; a file without it has none.

        Raises
        ------
        MaskFileError
            An annotation is invalid; the message names it.
        """
        sets = (
            file.annotations_of(ids[image_id]) if image_id in ids else []
            for file, ids in zip(self.files, self._ids, strict=True)
        )
        return Photograph(self.image(image_id), tuple(sets))

    def photographs(
        self,
        on_error: Callable[[dict[str, Any], UnsamError], None],
        image_ids: Sequence[int] | None = None,
    ) -> Iterator[Photograph]:
        """Yield all images, or those chosen, one at a time.

        `on_error` is called with the image entry and the error of its annotations; the image is
        then left out.
        """
        for image_id in self.image_ids if image_ids is None else image_ids:
            try:
                found = self.photograph(image_id)
            except UnsamError as error:
                on_error(self.image(image_id), error)
            else:
                yield found


def names_of(masks: Sequence[str], names: str | None) -> list[str]:
    """Return what files are called: by `names`, with commas between them, or by their paths.

    Raises
    ------
    UsageError
        The number of names is not that of files, or a name is given twice.
    """
    if names is not None:
        given = [name.strip() for name in names.split(",")]
        if len(given) != len(masks):
            raise UsageError(
                f"--names: {counted(len(given), 'name')} for {len(masks)} files; give one for "
                "each, with commas between them"
            )
        if "" in given or len(set(given)) < len(given):
            raise UsageError(f"--names {names}: a name is empty or given twice; choose another")
        return given
    stems = [PurePath(name_of(path).removesuffix(".gz")).stem for path in masks]
    # Runs often differ in their folder only; one file may even be given twice.
    distinct = stems if len(set(stems)) == len(stems) else list(masks)
    return [f"{n} ({k})" if distinct.count(n) > 1 else n for k, n in enumerate(distinct, start=1)]


def _ids_in(first: MasksFile, other: MasksFile) -> dict[int, int]:
    """Return ids in another file by ids in the first: by file name, or else by id."""
    if other is first or not (first.images and other.images):
        return {i: i for i in other.image_ids}
    for key in (str, canonical, base_name):
        ours, theirs = _by_name(first, key), _by_name(other, key)
        common = {ours[name]: theirs[name] for name in ours.keys() & theirs.keys()}
        if common:
            return common
    return {}


def _by_name(file: MasksFile, key: Callable[[str], str]) -> dict[str, int]:
    """Return ids by name, without names that several images have."""
    names = {image.id: key(image.file_name) for image in file.images.values()}
    count = Counter(names.values())
    return {name: i for i, name in names.items() if count[name] == 1}


def _refuse_strangers(
    first: MasksFile, other: MasksFile, ids: dict[int, int], first_place: str, place: str
) -> None:
    """Refuse a file of other images; warn of images that only one of the files has."""
    if other is first:
        return
    common = len(ids.keys() & set(first.image_ids))
    if not common and first.image_ids:
        raise DataError(
            f"{place}: has no image in common with {first_place}; give masks of the same "
            "photographs"
        )
    alone, missing = len(other.image_ids) - common, len(first.image_ids) - common
    if alone:
        logger.warning(
            "%s: ignored %s that %s does not have", place, counted(alone, "image"), first_place
        )
    if missing:
        logger.warning("%s: lacks %d of the images in %s", place, missing, first_place)
