"""The report of an evaluation as an output that can be interrupted and resumed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from unsam_cli.errors import counted
from unsam_cli.evaluation.files import write_per_image
from unsam_cli.evaluation.matches import Contribution
from unsam_cli.evaluation.partial import is_partial, packed, read_part, unpacked, write_part
from unsam_cli.evaluation.plot import draw
from unsam_cli.evaluation.report import Header, build_report, read_report, write_report
from unsam_cli.evaluation.settings import EvaluateSettings
from unsam_cli.run.items import Item
from unsam_cli.run.output import publish
from unsam_cli.run.settings import RunSettings
from unsam_cli.run.sinks import FileSink

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluateOutputs:
    """Files that ``evaluate`` writes.

    Parameters
    ----------
    report : bool
        Whether to write the report as JSON to the output of the run. A part is always written.
    per_image, plot : Path, optional
        Paths of the metrics of every image as CSV, and of a picture.
    """

    report: bool = False
    per_image: Path | None = None
    plot: Path | None = None


class ReportSink(FileSink):
    """The report, or for a shard a part of it.

    Parameters
    ----------
    run : RunSettings
        The settings of the run.
    names : sequence of str
        The files of predictions.
    settings : EvaluateSettings
        The metrics, and how they are computed.
    outputs : EvaluateOutputs
        The files to write.
    """

    binary = False

    def __init__(
        self,
        run: RunSettings,
        names: Sequence[str],
        settings: EvaluateSettings,
        outputs: EvaluateOutputs,
    ) -> None:
        self.names, self.outputs = names, outputs
        self.report: dict[str, Any] | None = None
        self.ids: list[int] = []
        super().__init__(run, [])
        self.header = Header(self.history, labels(names), settings, run.seed)

    @property
    def done(self) -> frozenset[int]:
        """Ids of the images that are finished; all of them in a report of a whole run."""
        return super().done if self.report is None else frozenset(self.ids)

    def begin(self, items: Sequence[Item]) -> None:
        """Record all images of the run."""
        super().begin(items)
        self.ids = [item.id for item in items]

    def add(self, item: Item, result: Contribution, content: int | None = None) -> None:
        """Store one image."""
        self.made_at = 0
        self._store(result)

    def _store(self, image: Contribution) -> None:
        self.journal.append(image.image_id, {"file_name": image.file_name}, packed(image))

    def _restore(self, path: Path) -> None:
        if is_partial(path):
            part = read_part(path)
            self._refuse_other_history(path, part.header.history)
            for image in part.images:
                if image.image_id not in self.journal.entries:
                    self._store(image)
            return
        report = read_report(path)
        self._refuse_other_history(path, report["unsam"]["history"])
        # It has no results of single images: if they are needed, they are recomputed. So is a
        # report under earlier names of the files, which it holds in several places.
        renamed = "files" in report and [f["name"] for f in report["files"]] != labels(self.names)
        sharded = self.settings.shard.count > 1
        if sharded or renamed or report["skipped"] or self.outputs.per_image:
            self.made_at = 0
        else:
            self.report = report

    def finish(self, order: Iterable[int]) -> None:
        """Compute the metrics over the given images, and write the outputs."""
        ids = list(order)
        skipped = len(self.settings.shard.take(self.ids)) - len(ids)
        images = [] if self.report else [self._image(i) for i in ids]
        self._warn(images)
        header, outputs = self.header, self.outputs
        if outputs.per_image is not None:
            publish(str(outputs.per_image), lambda path: write_per_image(path, header, images))
        if self.marks:
            lines = map(self.journal.read_blob, ids)
            self._publish(lambda p: write_part(p, header, self.marks, lines, skipped=skipped))
        else:
            report = self.report = self.report or build_report(header, images, skipped=skipped)
            if outputs.report:
                self._publish(lambda path: write_report(path, report))
            if (plot := outputs.plot) is not None:
                kind = plot.suffix[1:].lower()
                publish(str(plot), lambda path: draw(path, report, kind=kind))
        self.journal.close(discard=True)

    def _image(self, image_id: int) -> Contribution:
        return unpacked(orjson.loads(self.journal.read_blob(image_id)))

    def _warn(self, images: Iterable[Contribution]) -> None:
        """Log oddities of the files with their numbers."""
        notes: Counter[tuple[str, str]] = Counter()
        for image in images:
            notes["mask", "of the ground truth without a pixel, left out"] += image.empty
            notes[
                "mask",
                "of the ground truth with an area that differs by more than 10 % from its pixels; "
                "size ranges use the area in the file, as in pycocotools",
            ] += image.odd_areas
            for name, found in zip(self.names, image.files, strict=False):
                notes[
                    "prediction",
                    f"of {name} with category 0; evaluate ignores categories, but pycocotools and "
                    "detectron2 drop category 0",
                ] += found.category_zero
            for name, points in zip(self.names, image.points, strict=False):
                note = f"of the ground truth without a prediction in {name}"
                notes["mask", note] += points.missed
        for (noun, note), count in sorted((+notes).items()):
            logger.warning("%s %s", counted(count, noun), note)


def labels(names: Sequence[str]) -> list[str]:
    """Name files by their last part, or by as much of the path as distinguishes them."""
    parts = [Path(name).parts for name in names]
    for count in range(1, max(map(len, parts)) + 1):
        found = ["/".join(p[-count:]) for p in parts]
        if len(set(found)) == len(found):
            return found
    return [f"{i}: {Path(name).name}" for i, name in enumerate(names, start=1)]
