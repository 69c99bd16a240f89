"""Names of all formats, and the request of a command line; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unsam_cli.errors import UsageError, counted

READ = {
    "coco": "any COCO file of masks",
    "sa1b": "SA-1B: a folder with one JSON file per image",
    "lvis": "LVIS",
    "ade20k": "the full ADE20K: a folder of *_seg.png, *_parts_N.png, *.json",
    "entityseg": "EntitySeg",
    "partimagenet": "PartImageNet (JSON)",
    "paco": "PACO, objects and parts",
    "coco-panoptic": "COCO panoptic: JSON and a folder of PNG",
    "bsds500": "BSDS500: a folder of .mat",
    "labelmap": "a folder of images whose pixels are labels",
    "tsv": "training shards of Semantic-SAM and UnSAM",
    "davis": "DAVIS: a folder of palette PNG for each sequence",
}
WRITE = {
    "coco": "one COCO file",
    "results": "a bare list of results, as pycocotools loads it",
    "polygons": "COCO with polygons",
    "sa1b": "a folder with one JSON file per image",
    "labelmap": "a folder of PNG whose pixels are labels",
    "tsv": "a training shard, with its .lineidx",
    "yolo": "a folder of outlines as text, for Ultralytics YOLO",
    "geojson": "polygons in the coordinates of GeoTIFFs, for maps",
}
CHECKPOINT = "checkpoint"
"""Format of weights of a network, which become a model folder."""
FOLDERS = frozenset({"sa1b", "labelmap", "yolo"})
"""Formats that are written as a folder."""
OUTLINED = ("polygons", "yolo", "geojson")
"""Formats whose masks are outlines, which can be simplified."""
WITHOUT_CROWDS = frozenset({"results", "yolo"})
"""Formats that cannot hold crowd regions."""
BSDS_MIN_AREA = 64
"""Least area of a segment of BSDS500 in pixels: hand-drawn borders leave slivers between them."""


@dataclass(frozen=True)
class Request:
    """Source and target of a conversion.

    Attributes
    ----------
    source_format, target : str
        Keys of `READ` and `WRITE`. If the source format is `CHECKPOINT`, `target` is not used.
    source : str
        A file or folder; ``-`` is standard input.
    """

    source_format: str
    source: str
    target: str


def parse_request(words: Sequence[str], to: str | None) -> Request:
    """Parse ``[FORMAT] SOURCE`` and ``--to``.

    FORMAT may also be a format that can only be written: ``convert results MASKS.json`` is the same
    as ``convert --to results MASKS.json``.

    Raises
    ------
    UsageError
        The number of words is wrong, or a format is unknown; the message lists the known ones.
    """
    if not 1 <= len(words) <= 2:
        raise UsageError(f"give FORMAT and SOURCE, got {counted(len(words), 'word')}")
    name, source = ("", words[0]) if len(words) == 1 else (words[0], words[1])
    if not name and source in READ.keys() | WRITE.keys() | {CHECKPOINT}:
        raise UsageError(
            f"the source is missing after {source}; give a file or folder (- is standard input)"
        )
    if to is None and name in WRITE.keys() - READ.keys():
        name, to = "coco", name
    if not name and to is None:
        raise UsageError(
            f"the format of {source} is missing; give one of {', '.join(READ)}, or --to"
        )
    name = name or "coco"
    if name == CHECKPOINT and to is None:
        return Request(name, source, "")
    if name not in READ:
        raise UsageError(f"unknown format {name!r}; one of {', '.join(READ)}")
    return Request(name, source, to or "coco")
