"""The masks of one image in one file, prepared for comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unsam_cli.errors import DataError
from unsam_cli.evaluation.records import Records, of_sound_records
from unsam_cli.io.annotations import Annotation
from unsam_cli.io.masks import MasksFile
from unsam_cli.io.values import number_or_none, whole_or
from unsam_cli.rle import Rle, RunTable, area, from_segmentation

_AREA_TOLERANCE = 0.1  # areas of polygons and of their pixels differ by less


@dataclass(frozen=True, slots=True)
class TruthSet:
    """Ground truth of an image, in the order of COCO's matching.

    Attributes
    ----------
    table : RunTable
        The masks.
    areas : (n,) float64
        Areas in pixels as stated in the file. Size ranges use them, as in pycocotools.
    crowd : (n,) bool
        Whether a mask is a region of many objects.
    values : list
        Values of the key that metrics are split by; None for a mask without a value.
    odd_areas : int
        Number of masks whose stated area differs much from their pixels.
    empty : int
        Number of masks without a pixel, which are left out.
    """

    table: RunTable
    areas: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    values: list[str | None]
    odd_areas: int = 0
    empty: int = 0


@dataclass(frozen=True, slots=True)
class PredictionSet:
    """Predictions of an image by falling score, up to the number that the evaluation keeps.

    Attributes
    ----------
    table : RunTable
        The masks. Size ranges use the areas of this table, not boxes or areas of the file.
    scores : (n,) float64
        Scores, descending.
    total : int
        Number of predictions of the image, including those that are not kept.
    category_zero : int
        Number of predictions with category 0.
    """

    table: RunTable
    scores: NDArray[np.float64]
    total: int
    category_zero: int


def truth_set(truth: MasksFile, image_id: int, *, by: str | None = None) -> TruthSet:
    """Read the ground truth of one image.

    Raises
    ------
    MaskFileError
        An annotation is invalid.
    """
    image = truth.images[image_id]
    # In a tie the first one is taken, and pycocotools processes one category after the other.
    every = sorted(truth.annotations_of(image_id), key=lambda a: a.category_id)
    found = with_pixels(every)
    table = RunTable.from_rles([a.rle for a in found], size=(image.height, image.width))
    areas = np.array([a.area for a in found], dtype=np.float64)
    off = np.abs(areas - table.areas) > _AREA_TOLERANCE * np.maximum(table.areas, 64)
    return TruthSet(
        table=table,
        areas=areas,
        crowd=np.array([a.iscrowd for a in found], dtype=bool),
        values=[None if by is None else _value_of(a, by) for a in found],
        odd_areas=int(off.sum()),
        empty=len(every) - len(found),
    )


def with_pixels(found: Sequence[Annotation]) -> list[Annotation]:
    """Return the annotations whose masks have a pixel: no prediction can match the others."""
    sizes = area([a.rle for a in found])
    return [a for a, size in zip(found, sizes.tolist(), strict=True) if size]


def _value_of(found: Annotation, key: str) -> str | None:
    known = key in ("level", "stage", "granularity", "category_id", "parent_id", "iscrowd")
    value = getattr(found, key) if known else found.extra.get(key)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int | float):
        raise DataError(
            f"annotation {found.id} (image {found.image_id}): {key} is {value!r:.40}; --by needs "
            "a number or text"
        )
    return str(value)


def prediction_set(
    masks: MasksFile,
    image_id: int | None,
    *,
    size: tuple[int, int],
    keep: int,
    score_key: str | None,
) -> PredictionSet:
    """Read the predictions of one image.

    Parameters
    ----------
    masks : MasksFile
        The predictions.
    image_id : int, optional
        Id of the image in this file; None if the file does not have it.
    size : (H, W)
        Height and width of the image, in pixels.
    keep : int
        Largest number of predictions to keep, those with the highest scores.
    score_key : str, optional
        Key that ranks predictions. Without it they are ranked by their order in the file.

    Raises
    ------
    DataError
        A score is missing, or a mask is malformed or of another size; the message names it.
    """

    def read(records: Records) -> PredictionSet:
        return _prediction_set(records, size, keep, score_key)

    return of_sound_records(masks, image_id, read)


def _prediction_set(
    records: Records, size: tuple[int, int], keep: int, score_key: str | None
) -> PredictionSet:
    scores = np.array([score_of(n, record, score_key) for n, record in records], dtype=np.float64)
    categories = np.array([_category(record) for _, record in records], dtype=np.int64)
    order = np.argsort(categories, kind="stable")  # as in truth_set
    order = order[np.argsort(-scores[order], kind="stable")][:keep]
    chosen = [records[i] for i in order]
    rles = [rle_of(name, record, size) for name, record in chosen]
    table = table_of([name for name, _ in chosen], rles, size)
    zero = int((categories == 0).sum())
    return PredictionSet(table, scores[order], total=len(records), category_zero=zero)


def score_of(name: str, record: dict[str, Any], key: str | None) -> float:
    """Return the score of a record, 0 without a key; raise a DataError if it is missing."""
    if key is None:
        return 0.0
    try:
        score = number_or_none(record, key)
    except ValueError as error:
        raise DataError(f"{name}: {error}; fix or remove it") from error
    if score is None:
        raise DataError(
            f"{name}: has no {key}, which ranks the masks; choose another key with "
            "--score-key (none: file order)"
        )
    return float(score)


def _category(record: dict[str, Any]) -> int:
    return whole_or(record, "category_id", 1)


def rle_of(name: str, record: dict[str, Any], size: tuple[int, int]) -> Rle:
    """Return the mask of a record; compressed RLEs, the usual form, are checked later together.

    Raises
    ------
    DataError
        The record has no mask, or the mask is invalid; `name` is its name in the message.
    """
    mask = record.get("segmentation")
    if mask is None:
        raise DataError(f"{name}: has no segmentation; evaluate needs masks, not only boxes")
    if isinstance(mask, dict) and isinstance(mask.get("counts"), str):
        return {"size": mask.get("size"), "counts": mask["counts"]}  # type: ignore[typeddict-item]
    try:
        return from_segmentation(mask, *size)
    except ValueError as error:
        raise DataError(f"{name}: {error}; fix or remove it") from error


def table_of(names: list[str], rles: list[Rle], size: tuple[int, int]) -> RunTable:
    """Return the runs of masks; a DataError names the first one that is malformed or not `size`."""
    try:
        return RunTable.from_rles(rles, size=size)
    except ValueError:
        _complain(names, rles, size)
        raise


def _complain(names: list[str], rles: list[Rle], size: tuple[int, int]) -> None:
    for name, rle in zip(names, rles, strict=True):
        try:
            RunTable.from_rles([rle], size=size)
        except ValueError as error:
            text = str(error).removeprefix("mask 0: ")
            hint = "predict at the size of the ground truth" if "differs" in text else "fix it"
            raise DataError(f"{name}: {text}; {hint}") from error
