"""What `convert` can be told; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unsam_cli.convert.formats import BSDS_MIN_AREA
from unsam_cli.settings import Settings, setting


@dataclass(frozen=True)
class ReadSettings(Settings):
    """How to read a dataset.

    Parameters
    ----------
    images : Path, optional
        Folder of the images: for sizes and names that the source lacks.
    png : Path, optional
        Folder of the PNG files of ``coco-panoptic``.
    """

    images: Path | None = None
    png: Path | None = None
    min_area: int = setting(
        0,
        "Leave out masks of fewer pixels.",
        least=0,
        default_text=f"{BSDS_MIN_AREA} for bsds500, else 0",
    )
    max_iou: float = setting(
        1.0,
        "Leave out masks that overlap an earlier one of their image by more; 1 keeps all.",
        least=0,
        most=1,
    )
    components: bool = setting(
        False, "labelmap: make every 4-connected piece of a label a mask of its own."
    )
    background: int = setting(0, "labelmap: the label that stands for nothing.")


@dataclass(frozen=True)
class WriteSettings(Settings):
    """How to write.

    Parameters
    ----------
    images : Path, optional
        Folder of the images, for ``tsv``.
    """

    images: Path | None = None
    order: Literal["area", "score", "file"] = setting(
        "area",
        "--to labelmap: what lies on top: smaller masks, better ones, or later ones.",
        choices=("area", "score", "file"),
    )
    tolerance: float = setting(
        0.0,
        "--to polygons, yolo: pixels by which outlines may be simplified; 0 is exact.",
        least=0,
    )
