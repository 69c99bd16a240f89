"""Write the metrics of every image as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from unsam_cli.evaluation.matches import THRESHOLDS, Contribution, FileResult, unpack
from unsam_cli.evaluation.report import Header


def write_per_image(path: Path, header: Header, images: Sequence[Contribution]) -> None:
    """Write one line for every image and file of predictions.

    The AR of an image is the recall of its own masks, averaged over IoU thresholds. It is empty if
    the image has no masks.
    """
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(
            ["image_id", "file_name", "file", "ground_truths", "crowds", "predictions"]
            + [f"AR@{k}" for k in header.settings.max_dets]
        )
        for image in images:
            start = [image.image_id, image.file_name]
            for name, found in zip(header.names, image.files, strict=True):
                counts = [image.truths, image.crowds, found.predictions]
                writer.writerow([*start, name, *counts, *_recalls(found, header.settings.max_dets)])


def _recalls(found: FileResult, max_dets: Sequence[int]) -> Iterator[str]:
    m = found.matches
    positives = int(m.positives[0])
    for k in max_dets:
        right = [
            int((unpack(m.matched[0, :k], t) & ~unpack(m.ignored[0, :k], t)).sum())
            for t in range(len(THRESHOLDS))
        ]
        yield repr(float(np.mean(np.array(right) / positives))) if positives else ""
