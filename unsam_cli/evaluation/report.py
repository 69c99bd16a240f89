"""The report of an evaluation: a JSON object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from unsam_cli.errors import DataError
from unsam_cli.evaluation.bootstrap import compare, masks_draw, points_draw
from unsam_cli.evaluation.matches import THRESHOLDS, Contribution, FileResult, Matches
from unsam_cli.evaluation.metrics import measure, pool, recall
from unsam_cli.evaluation.points import measure_points
from unsam_cli.evaluation.settings import EvaluateSettings
from unsam_cli.io.files import open_regular


@dataclass(frozen=True)
class Header:
    """Description of an evaluation.

    Attributes
    ----------
    history : list of dict
        The command, its options and the identities of its inputs.
    names : list of str
        Names of the files of predictions, without folders.
    settings : EvaluateSettings
        The metrics, and how they are computed.
    seed : int
        Seed of the bootstrap samples.
    """

    history: list[dict[str, Any]]
    names: list[str]
    settings: EvaluateSettings
    seed: int


def build_report(
    header: Header, images: Sequence[Contribution], *, skipped: int = 0
) -> dict[str, Any]:
    """Compute the metrics over all images.

    Parameters
    ----------
    header : Header
        The evaluation.
    images : sequence of Contribution
        All images, in order.
    skipped : int
        Number of images that were left out because of an error.

    Returns
    -------
    dict
        Plain JSON values. With several files of predictions, `predictions` and `metrics` are those
        of the first file, and `files` has all of them.

    Raises
    ------
    DataError
        No image is left, or no mask of the ground truth has the key to split by.
    """
    if not images:
        raise DataError(f"no image is left, {skipped} skipped; fix them and run again")
    points = header.settings.protocol == "point"
    files = [(_points if points else _masks)(header, images, f) for f in range(len(header.names))]
    report: dict[str, Any] = {
        "protocol": header.settings.protocol,
        "images": len(images),
        "skipped": skipped,
        "ground_truths": sum(i.truths for i in images),
        "crowds": sum(i.crowds for i in images),
        **files[0],
    }
    if len(files) > 1:
        names = header.names
        report["files"] = [{"name": n} | f for n, f in zip(names, files, strict=True)]
        report["differences"] = [
            {"name": name, "from": names[0], "metrics": metrics}
            for name, metrics in zip(names[1:], _differences(header, images, files), strict=True)
        ]
    return report | {"unsam": {"history": header.history}}


def write_report(path: Path, report: dict[str, Any]) -> None:
    """Write a report as JSON, indented by two spaces."""
    path.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n")


def read_report(path: Path) -> dict[str, Any]:
    """Read a report.

    Raises
    ------
    DataError
        The file is not a report.
    """
    with open_regular(path) as stream:
        try:
            report: Any = orjson.loads(stream.read())
        except ValueError:
            report = None
    if not isinstance(report, dict) or not {"protocol", "skipped", "unsam"} <= report.keys():
        raise DataError(f"{path}: is no report of evaluate; delete it, or choose another output")
    return report


def _points(header: Header, images: Sequence[Contribution], file: int) -> dict[str, Any]:
    found = [i.points[file] for i in images]
    return {
        "predictions": sum(p.predictions for p in found),
        "metrics": measure_points(found),
    }


def _masks(header: Header, images: Sequence[Contribution], file: int) -> dict[str, Any]:
    found = [i.files[file] for i in images]
    matches = [f.matches for f in found]
    over_iou = recall(pool(matches), 0, header.settings.max_dets[-1])
    result: dict[str, Any] = {
        "predictions": sum(f.predictions for f in found),
        "metrics": measure(matches, header.settings.max_dets),
        "recall_over_iou": {
            "iou": [round(float(t), 2) for t in THRESHOLDS],
            "recall": None if over_iou is None else over_iou.tolist(),
        },
    }
    if header.settings.by is not None:
        result["by"] = {"key": header.settings.by, "values": _by(header, header.settings.by, found)}
    return result


def _by(header: Header, key: str, images: Sequence[FileResult]) -> dict[str, Any]:
    values = sorted({value for f in images for value in f.by}, key=_natural)
    if not values:
        raise DataError(
            f"no mask of the ground truth has the key {key}; choose another key for --by"
        )
    return {
        value: {
            "ground_truths": int(sum(m.positives[0] for m in found)),
            "metrics": measure(found, header.settings.max_dets),
        }
        for value in values
        for found in [[_of_value(f, value) for f in images]]
    }


def _of_value(image: FileResult, value: str) -> Matches:
    found = image.by.get(value, image.rest)
    assert found is not None
    return found


def _natural(value: str) -> tuple[int, float, str]:
    try:
        return (0, float(value), value)
    except ValueError:
        return (1, 0.0, value)


def _differences(
    header: Header, images: Sequence[Contribution], files: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    if header.settings.protocol == "point":
        draw = points_draw([[i.points[f] for i in images] for f in range(len(files))])
    else:
        matches = [[i.files[f].matches for i in images] for f in range(len(files))]
        draw = masks_draw(matches, header.settings.max_dets)
    return compare(
        [f["metrics"] for f in files],
        draw,
        images=len(images),
        repeats=header.settings.bootstrap,
        seed=header.seed,
    )
