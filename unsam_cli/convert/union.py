"""UnSAM+: all masks of one file, and the masks of another that overlap none of them.

References
----------
X. Wang et al., "Segment Anything without Supervision", NeurIPS 2024, arXiv 2406.20081: SA-1B's
masks and the pseudo-masks whose highest IoU with any of them is at most 0.02.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unsam_cli.convert.dataset import Truth, source_identity, to_annotations
from unsam_cli.errors import DataError, UnsamError, UsageError
from unsam_cli.found_masks import CONTAINED, granularity
from unsam_cli.io.annotations import Annotation, ImageInfo
from unsam_cli.io.masks import MasksFile, read_masks
from unsam_cli.io.masks_writer import write_masks
from unsam_cli.rle import Rle, RunTable, intersections, parents
from unsam_cli.run.output import check_output, publish
from unsam_cli.run.parallel import ordered_map
from unsam_cli.run.progress import LineReporter
from unsam_cli.run.provenance import Step
from unsam_cli.run.resources import usable_cpus

# The numbers of masks from each file are logged by default, as progress is.
logger = logging.getLogger(LineReporter.logger_name)


@dataclass(frozen=True)
class UnionCounts:
    """Numbers of images and masks in a union.

    Attributes
    ----------
    images : int
        Number of images in the output.
    first : int
        Number of masks of the first file, which are all kept.
    kept, second : int
        Numbers of masks of the second file that are kept, and of all its masks.
    """

    images: int
    first: int
    kept: int
    second: int


def union(
    first: Path,
    second: Path,
    *,
    max_iou: float = 0.02,
    ranked: bool = False,
    snap: float | None = None,
    output: str = "-",
    no_clobber: bool = False,
    step: Step | None = None,
    jobs: int | None = None,
) -> UnionCounts:
    """Write all masks of one file, and those of another that overlap none of them.

    Images are matched by id. Parents and granularity are recomputed among all masks of an image.
    The key `source` is the name of the file that a mask comes from. All other keys are kept.

    Parameters
    ----------
    first, second : Path
        Masks files of any form.
    max_iou : float
        Largest IoU, 0..1, of a mask of `second` that is kept with any mask of the same image in
        `first`.
    ranked : bool
        Rank all masks of `first` above those of `second`: their scores become (1 + score) / 2 and
        score / 2. A mask without a score counts as 1.
    snap : float, optional
        Add no masks of `second`. Instead a mask of `first` takes the shape of the most similar mask
        of `second`, if their IoU is at least this, above 0 and at most 1; its score is kept.
    output : str
        Path of the output; ``-`` is standard output.
    no_clobber : bool
        Refuse to replace an existing output.
    step : Step, optional
        The command, for the history of the output.
    jobs : int, optional
        Number of worker threads; by default the CPUs that this process may use.

    Returns
    -------
    UnionCounts
        Numbers of masks from each file.

    Raises
    ------
    UsageError
        The same file is given twice.
    DataError
        An image has different names or sizes in the two files, or neither file lists it; with
        `ranked`, a score is outside 0..1.
    """
    if first.resolve() == second.resolve():
        raise UsageError(f"{first} is given twice; a union needs two different files")
    check_output(output, binary=False, no_clobber=no_clobber)
    pair = _Pair(first, second, max_iou, ranked, snap)
    options = {"union": snap is None, "max-iou": max_iou, "ranked": ranked, "snap": snap}
    step = (step or Step("merge", options)).with_inputs(
        first=pair.identity(0), second=pair.identity(1)
    )
    history = [*_history(pair.first), *_history(pair.second), step.to_json()]
    kept = 0

    def groups() -> Iterator[list[dict[str, Any]]]:
        nonlocal kept
        united = ordered_map(pair.unite, list(pair.images), jobs=jobs or usable_cpus())
        with closing(united):
            for _, found in united:
                if isinstance(found, UnsamError):
                    raise found
                kept += sum(a["source"] == pair.names[1] for a in found)
                yield found

    def write(path: Path) -> None:
        with path.open("wb") as stream:
            images = map(_entry, pair.images.values())
            write_masks(stream, "coco", history=history, images=images, groups=groups())

    publish(output, write)
    counts = UnionCounts(len(pair.images), len(pair.first), kept, len(pair.second))
    if snap is None:
        _report(counts, pair, max_iou)
    else:
        logger.info(
            "snap: %d of %d masks of %s take the shape of one of %s (IoU at least %g), %d images",
            *(kept, counts.first, *pair.names, snap, counts.images),
            extra={"fields": vars(counts)},
        )
    return counts


def novel(first: list[Rle], second: list[Rle], max_iou: float) -> NDArray[np.bool_]:
    """Find the masks that overlap none of the masks in another list.

    Parameters
    ----------
    first : list of Rle, n
        The masks to compare with.
    second : list of Rle, m
        The masks to check, of the same image.
    max_iou : float
        Largest IoU, 0..1, that counts as no overlap.

    Returns
    -------
    (m,) bool
        Whether the highest IoU with any mask of `first` is at most `max_iou`.
    """
    result: NDArray[np.bool_] = _ious(first, second).max(axis=0, initial=0) <= max_iou
    return result


def _ious(first: list[Rle], second: list[Rle]) -> NDArray[np.float64]:
    """Return the IoU of each mask of one list with each mask of another, (n, m)."""
    n, m = len(first), len(second)
    if not n or not m:
        return np.zeros((n, m))
    table = RunTable.from_rles([*first, *second])
    pairs = np.stack(np.meshgrid(np.arange(n), np.arange(n, n + m), indexing="ij"), axis=-1)
    common = intersections(table, pairs.reshape(-1, 2)).reshape(n, m)
    whole = table.areas[:n, None] + table.areas[None, n:] - common
    ious: NDArray[np.float64] = common / np.maximum(whole, 1)
    return ious


class _Pair:
    """Two masks files of the same images."""

    def __init__(
        self, first: Path, second: Path, max_iou: float, ranked: bool, snap: float | None
    ) -> None:
        self.first, self.second = read_masks(first), read_masks(second)
        self.max_iou, self.ranked, self.snap = max_iou, ranked, snap
        self.names = _names(first, second)
        self.paths = (first, second)
        ids = sorted({*self.first.image_ids, *self.second.image_ids})
        self.images = {image_id: self._image(image_id) for image_id in ids}

    def unite(self, image_id: int) -> list[dict[str, Any]]:
        """Return the annotations of one image."""
        mine, others = self.first.annotations_of(image_id), self.second.annotations_of(image_id)
        image = self.images[image_id]
        for path, found in zip(self.paths, (mine, others), strict=True):
            for a in found:
                if a.rle["size"] != [image.height, image.width]:
                    raise DataError(
                        f"{path}: annotation {a.id} is of {'x'.join(map(str, a.rle['size']))} "
                        f"pixels, but image {image_id} has {image.height}x{image.width}"
                    )
        if self.snap is not None:
            return _annotations(image_id, self._snapped(mine, others, self.snap))
        new = novel([a.rle for a in mine], [a.rle for a in others], self.max_iou)
        if self.ranked:
            mine, others = ([_rescored(a, k) for a in side] for k, side in ((1, mine), (0, others)))
        chosen = [(a, self.names[0]) for a in mine]
        chosen += [(a, self.names[1]) for a, keep in zip(others, new, strict=True) if keep]
        return _annotations(image_id, chosen)

    def _snapped(
        self, mine: list[Annotation], others: list[Annotation], least: float
    ) -> list[tuple[Annotation, str]]:
        """Return the first file's masks, in the shape of the second's that resemble them."""
        chosen = [(a, self.names[0]) for a in mine]
        ious = _ious([a.rle for a in mine], [a.rle for a in others])
        for i in np.flatnonzero(ious.max(axis=1, initial=0) >= least):
            other = others[int(ious[i].argmax())]
            shape = replace(mine[i], rle=other.rle, area=other.area, bbox=other.bbox)
            chosen[i] = shape, self.names[1]
        return chosen

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
        if mine is not None and other is not None and mine != other:
            one, two = (f"{i.file_name} ({i.height}x{i.width})" for i in (mine, other))
            raise DataError(
                f"image {image_id} is {one} in {self.paths[0]} and {two} in {self.paths[1]}; "
                "both files must number the same images"
            )
        chosen = mine or other
        assert chosen is not None
        return chosen


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


def _rescored(a: Annotation, rank: int) -> Annotation:
    """Move scores from 0..1 to the lower (0) or the upper half (1)."""
    score = 1.0 if a.score is None else a.score
    if not 0 <= score <= 1:
        raise DataError(f"annotation {a.id} has the score {score}; --ranked needs scores in 0..1")
    return replace(a, score=(rank + score) / 2)


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


def _entry(image: ImageInfo) -> dict[str, Any]:
    return {
        "id": image.id,
        "file_name": image.file_name,
        "height": image.height,
        "width": image.width,
    }


def _report(counts: UnionCounts, pair: _Pair, max_iou: float) -> None:
    one, two = pair.names
    alone = [len(set(a.image_ids) - set(b.image_ids)) for a, b in _both_ways(pair)]
    logger.info(
        "union: %d masks of %s, %d of %d masks of %s (IoU at most %g), %d images, "
        "of which %d only in %s and %d only in %s",
        *(counts.first, one, counts.kept, counts.second, two, max_iou, counts.images),
        *(alone[0], one, alone[1], two),
        extra={"fields": vars(counts)},
    )


def _both_ways(pair: _Pair) -> list[tuple[MasksFile, MasksFile]]:
    return [(pair.first, pair.second), (pair.second, pair.first)]
