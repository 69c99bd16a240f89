"""``unsam run`` resumed: stand-ins for features and objects of images whose masks are finished.

Features are deleted when the masks are there. A stand-in lists the finished images without
features, under the history that the masks have: so each stage compares its settings with those of
the masks, finds these images done, and computes the others only.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from unsam_cli.errors import UsageError, counted
from unsam_cli.io.features import FeatureAttributes, ImageEntry
from unsam_cli.io.features_writer import Described, FeatureTotals, write_features
from unsam_cli.io.masks_lines import MaskLines
from unsam_cli.io.masks_writer import write_masks
from unsam_cli.run.output import publish

STAGES = 4
"""Steps in the history of the masks of ``unsam run``, the last of which is conquer."""


@dataclass(frozen=True)
class StandIns:
    """Files of the stages before conquer, in their order: features, objects, features of regions.

    Attributes
    ----------
    files : tuple of Path
    date : int
        When the masks were finished, in ns.
    """

    files: tuple[Path, ...]
    date: int

    @classmethod
    def of(cls, masks: Path, files: Iterable[Path]) -> StandIns:
        """Write those stand-ins that are missing.

        Raises
        ------
        UnsamError
            The masks file is damaged or was made otherwise, or a stand-in cannot be written.
        """
        found = MaskLines(masks)
        if len(found.history) != STAGES:
            raise UsageError(
                f"{masks}: has a history of {counted(len(found.history), 'command')}, not of "
                f"the {STAGES} of unsam run; leave out --resume, or choose another -o"
            )
        made = cls(tuple(files), masks.stat().st_mtime_ns)
        for number, path in enumerate(made.files, start=1):
            if not path.exists():
                write = _write_features if path.suffix == ".h5" else _write_objects
                publish(str(path), partial(write, masks=found, steps=number))
        made.date_back()
        return made

    def date_back(self) -> None:
        """Make files as old as the masks: what was finished before is not out of date."""
        for path in self.files:
            if path.exists():
                os.utime(path, ns=(self.date, self.date))


def _write_features(path: Path, masks: MaskLines, steps: int) -> None:
    images: list[Described] = [
        (ImageEntry(i["id"], i["file_name"], i["height"], i["width"]), []) for i in masks.images()
    ]
    nothing: dict[str, Any] = {"weights": "none", "facet": "key", "layer": -1, "patch_size": 1}
    attributes = FeatureAttributes(
        **nothing,
        backbone="none",
        dim=1,
        project=0,
        seed=0,
        command="",
        unsam_version="",
        history=masks.history[:steps],
    )
    write_features(path, attributes, FeatureTotals(len(images), 0, 0, 1, "float16"), images, [])


def _write_objects(path: Path, masks: MaskLines, steps: int) -> None:
    with path.open("wb") as stream:
        write_masks(stream, "coco", history=masks.history[:steps], images=masks.images(), groups=[])
