"""Two files of masks of the same images, combined to one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from unsam_cli.convert.dataset import Truth, source_identity, to_annotations
from unsam_cli.errors import DataError, UnsamError, UsageError
from unsam_cli.found_masks import CONTAINED, granularity
from unsam_cli.io.annotations import Annotation
from unsam_cli.io.image_entries import ImageInfo
from unsam_cli.io.left_out import LeftOut
from unsam_cli.io.masks import MasksFile, read_masks
from unsam_cli.io.masks_writer import write_masks
from unsam_cli.io.names import canonical, paired
from unsam_cli.rle import RunTable, parents
from unsam_cli.run.error_list import ErrorList
from unsam_cli.run.output import check_output, publish
from unsam_cli.run.parallel import ordered_map
from unsam_cli.run.provenance import Step
from unsam_cli.run.resources import usable_cpus

Chosen = list[tuple[Annotation, int]]
"""Masks of one image, each with the file that it comes from, 0 or 1."""


def combine(
    paths: tuple[Path, Path],
    choose: Callable[[list[Annotation], list[Annotation]], Chosen],
    step: Step,
    *,
    output: str = "-",
    no_clobber: bool = False,
    jobs: int | None = None,
    on_error: str = "fail",
    errors: str | None = None,
) -> tuple[Pair, int]:
    """Write a selection of the masks of two files.

    Images are matched by id. Parents and granularity are recomputed among all masks of an image.
    The key `source` is the name of the file that a mask comes from. All other keys are kept.

    Parameters
    ----------
    paths : (Path, Path)
        Masks files of any form.
    choose : callable
        Selects, or changes, the masks of one image from those in the first and in the second file.
    step : Step
        The command, for the history of the output.
    output : str
        Path of the output; ``-`` is standard output.
    no_clobber : bool
        Refuse to replace an existing output.
    jobs : int, optional
        Number of worker threads; by default the CPUs that this process may use.
    on_error : {'fail', 'skip'}
        Whether an invalid mask is an error or is left out and listed in ``OUTPUT.errors.jsonl``.
    errors : str, optional
        Output that the list belongs to, instead of `output`; ``-`` has none.

    Returns
    -------
    Pair
        The two files.
    int
        Number of the masks in the output that come from the second file.

    Raises
    ------
    UsageError
        The same file is given twice.
    DataError
        An image has different names or sizes in the two files, or neither file lists it.
    """
    first, second = paths
    if first.resolve() == second.resolve():
        raise UsageError(f"{first} is given twice; a union needs two different files")
    check_output(output, binary=False, no_clobber=no_clobber)
    pair = Pair(first, second, on_error=on_error)
    listed = ErrorList(errors or output, step.command, on_error)
    step = step.with_inputs(first=pair.identity(0), second=pair.identity(1))
    history = [*_history(pair.first), *_history(pair.second), step.to_json()]
    kept = 0

    def chosen(image_id: int) -> list[dict[str, Any]]:
        found = choose(*pair.masks(image_id))
        return _annotations(image_id, [(a, pair.names[which]) for a, which in found])

    def groups() -> Iterator[list[dict[str, Any]]]:
        nonlocal kept
        combined = ordered_map(chosen, list(pair.images), jobs=jobs or usable_cpus())
        with closing(combined):
            for image_id, found in combined:
                if isinstance(found, UnsamError):
                    raise found
                bad = pair.left_out(image_id)
                pair.skipped += [(pair.images[image_id].file_name, one) for one in bad]
                listed.add_annotations(pair.images[image_id].file_name, bad)
                kept += sum(a["source"] == pair.names[1] for a in found)
                yield found

    def write(path: Path) -> None:
        with path.open("wb") as stream:
            images = map(ImageInfo.to_json, pair.images.values())
            write_masks(stream, "coco", history=history, images=images, groups=groups())

    publish(output, write)
    pair.skipped += (strays := [*pair.first.strays, *pair.second.strays])
    listed.add_strays(strays)
    if not listed.finish():
        pair.skipped = []
    return pair, kept


class Pair:
    """Two masks files of the same images.

    Attributes
    ----------
    first, second : MasksFile
        The files.
    names : (str, str)
        Their names, with as many folders as needed to distinguish them.
    images : dict of int to ImageInfo
        The images of both files, by ascending id.
    skipped : list of (str, LeftOut)
        Masks that were left out, with the names of their images, if `on_error` is 'skip'.
    """

    def __init__(self, first: Path, second: Path, *, on_error: str = "fail") -> None:
        self.first = read_masks(first, on_error=on_error)
        self.second = read_masks(second, on_error=on_error)
        self.skipped: list[tuple[str, LeftOut]] = []
        self.names = _names(first, second)
        self._called = paired(self.first.names.values(), self.second.names.values())
        self.paths = (first, second)
        self._refuse_other_numbers()
        ids = sorted({*self.first.image_ids, *self.second.image_ids})
        self.images = {image_id: self._image(image_id) for image_id in ids}

    def masks(self, image_id: int) -> tuple[list[Annotation], list[Annotation]]:
        """Return the masks of an image in the first and in the second file.

        Raises
        ------
        DataError
            A mask is invalid, or not of the size of the image.
        """
        image = self.images[image_id]
        return self._masks(self.first, image), self._masks(self.second, image)

    def _masks(self, file: MasksFile, image: ImageInfo) -> list[Annotation]:
        found = file.annotations_of(image.id)
        odd = [a for a in found if a.rle["size"] != [image.height, image.width]]
        bad = [LeftOut(image.id, a.id, _odd_size(a, image)) for a in odd]
        if bad and not file.keep_going:
            raise DataError(f"{file.name}: annotation {bad[0].annotation} {bad[0].reason}")
        file.left_out.record(image.id, [*file.left_out.invalid(image.id), *bad])
        return [a for a in found if a.rle["size"] == [image.height, image.width]]

    def left_out(self, image_id: int) -> list[LeftOut]:
        """Return the annotations of an image that were left out, of both files."""
        return [*self.first.left_out.of(image_id), *self.second.left_out.of(image_id)]

    def _refuse_other_numbers(self) -> None:
        """Refuse files that give one image two ids: its masks would stay apart."""
        ids = {canonical(image.file_name): i for i, image in self.first.images.items()}
        for i, image in self.second.images.items():
            other = ids.get(canonical(image.file_name), i)
            if other != i and i not in self.first.images and other not in self.second.images:
                raise DataError(
                    f"{image.file_name} is image {other} in {self.paths[0]} and {i} in "
                    f"{self.paths[1]}; both files must number the same images: extract-features "
                    "--coco FILE takes the ids of a file"
                )

    def identity(self, which: int) -> str:
        """Identify the first (0) or the second (1) file in the history."""
        file = (self.first, self.second)[which]
        return source_identity(self.paths[which], file.images.values())

    def _image(self, image_id: int) -> ImageInfo:
        mine, other = self.first.images.get(image_id), self.second.images.get(image_id)
        if mine is None and other is None:
            raise DataError(
                f"image {image_id}: neither {self.paths[0]} nor {self.paths[1]} lists it; "
                "at least one of them must be a full COCO file"
            )
        if mine is not None and other is not None and not self._same(mine, other):
            one, two = (f"{i.file_name} ({i.height}x{i.width})" for i in (mine, other))
            raise DataError(
                f"image {image_id} is {one} in {self.paths[0]} and {two} in {self.paths[1]}; "
                "both files must number the same images"
            )
        chosen = mine or other
        assert chosen is not None
        return chosen

    def _same(self, mine: ImageInfo, other: ImageInfo) -> bool:
        """Whether entries of both files are of one image, whose name may have other folders."""
        called = self._called.get(mine.file_name)
        return (called, mine.height, mine.width) == (other.file_name, other.height, other.width)


def _odd_size(a: Annotation, image: ImageInfo) -> str:
    size = "x".join(map(str, a.rle["size"]))
    return f"is of {size} pixels, but image {image.id} has {image.height}x{image.width}"


def _annotations(image_id: int, found: list[tuple[Annotation, str]]) -> list[dict[str, Any]]:
    if not found:
        return []
    table = RunTable.from_rles([a.rle for a, _ in found])
    parent = parents(table, CONTAINED)
    fineness = granularity(table.areas, parent)
    masks = [
        Truth(
            a.rle,
            {**_said(a), "granularity": round(float(fineness[i]), 6), "source": name},
            parent=int(parent[i]) if parent[i] >= 0 else None,
            iscrowd=a.iscrowd,
            area=a.area,
            bbox=a.bbox,
        )
        for i, (a, name) in enumerate(found)
    ]
    return to_annotations(image_id, masks)


def _said(a: Annotation) -> dict[str, Any]:
    plain = {"score": a.score, "stage": a.stage, "level": a.level}
    return {**{k: v for k, v in plain.items() if v is not None}, **a.extra}


def _names(first: Path, second: Path) -> tuple[str, str]:
    """Names of the files, with as many folders as needed to distinguish them."""
    one, two = first.resolve().parts, second.resolve().parts
    length = next(k for k in range(1, max(len(one), len(two)) + 1) if one[-k:] != two[-k:])
    return Path(*one[-length:]).as_posix(), Path(*two[-length:]).as_posix()


def _history(file: MasksFile) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = file.info.get("unsam", {}).get("history", [])
    return found
