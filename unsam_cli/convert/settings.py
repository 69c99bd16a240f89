"""Settings of `convert`; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from unsam_cli.convert.formats import BSDS_MIN_AREA
from unsam_cli.io.names import Pictures
from unsam_cli.settings import Settings, crowds_setting, setting


@dataclass(frozen=True)
class ReadSettings(Settings):
    """Settings for reading a dataset.

    Parameters
    ----------
    images : Path, optional
        Folder of the images, for sizes and names that the source lacks.
    png : Path, optional
        Folder of the PNG files of ``coco-panoptic``.
    on_error : {'fail', 'skip'}
        Whether an invalid annotation is an error or is left out.
    """

    images: Path | None = None
    png: Path | None = None
    on_error: str = "fail"
    min_area: int = setting(
        0,
        "Drop masks with fewer pixels.",
        least=0,
        default_text=f"{BSDS_MIN_AREA} for bsds500, else 0",
    )
    max_iou: float = setting(
        1.0,
        "Drop masks whose IoU with an earlier mask of the same image is higher; 1 keeps all.",
        least=0,
        most=1,
    )
    crowds: str = crowds_setting()
    components: bool = setting(
        False, "labelmap: make a separate mask of each 4-connected component of a label."
    )
    background: int = setting(0, "labelmap: the background label.")


@dataclass(frozen=True)
class WriteSettings(Settings):
    """Settings for writing.

    Parameters
    ----------
    images : Path, optional
        Folder of the images, for ``tsv``.
    pictures : Pictures, optional
        The images in it.
    places : mapping of int to Place
        Where images lie on a map, by id, for ``geojson``.
    """

    images: Path | None = None
    pictures: Pictures | None = None
    places: Mapping[int, Any] = field(default_factory=dict)
    order: Literal["area", "score", "file"] = setting(
        "area",
        "--to labelmap: which masks lie on top: smaller ones (area), better ones (score) "
        "or later ones (file).",
        choices=("area", "score", "file"),
    )
    tolerance: float = setting(
        0.0,
        "--to polygons, yolo, geojson: tolerance of outline simplification, in pixels; 0 is exact.",
        least=0,
    )
