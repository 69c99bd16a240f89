"""unsam convert [FORMAT] SOURCE [--to FORMAT] -o OUTPUT"""  # noqa: D400

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from unsam_cli.cli import options
from unsam_cli.cli.files import ListArgument
from unsam_cli.cli.settings import settings_options
from unsam_cli.convert.formats import BSDS_MIN_AREA, CHECKPOINT, WRITE, parse_request
from unsam_cli.convert.settings import ReadSettings, WriteSettings
from unsam_cli.run.settings import RunSettings

_folder = click.Path(exists=True, file_okay=False, path_type=Path)


@options.command("convert", "Convert datasets and masks between formats.")
@click.argument("words", cls=ListArgument, nargs=-1, required=True, metavar="[FORMAT] SOURCE")
@options.files_option(
    "--images",
    metavar="DIR",
    type=_folder,
    help="Folder of the images: provides sizes and names that SOURCE lacks, the images for "
    "--to tsv, and the places on the map for --to geojson.",
)
@options.files_option(
    "--png",
    metavar="DIR",
    type=_folder,
    help="Folder of the PNG files of coco-panoptic.  [default: SOURCE without .json]",
)
@options.run_option(
    "--to",
    type=click.Choice(list(WRITE)),
    group="Output",
    help="Format of the output.  [default: coco]",
)
@settings_options("read", ReadSettings, build=dict)
@settings_options("write", WriteSettings)
@options.pixel_options
@options.mask_run_options
def command(
    words: tuple[str, ...],
    to: str | None,
    images: Path | None,
    png: Path | None,
    read: dict[str, Any],
    write: WriteSettings,
    run: RunSettings,
) -> int:
    """Convert a dataset to class-agnostic COCO, or masks to other formats.

    FORMAT is the format of SOURCE: coco, sa1b, lvis, ade20k, entityseg, partimagenet, paco,
    coco-panoptic, bsds500, labelmap, tsv or davis. It is coco if only --to is given. Every category
    becomes 1; its name is kept as category_name.

    \b
      unsam convert lvis lvis_v1_val.json -o lvis.json
      unsam convert bsds500 BSDS500/data/groundTruth/val -o bsds.json
      unsam convert --to sa1b masks.json -o sa1b/
      unsam convert --to tsv masks.json --images photos/ -o SAM-0.tsv
      unsam convert --to geojson masks.json --images photos/ -o masks.geojson
      unsam convert checkpoint unsam.pth -o unsam/

    The last example converts a checkpoint of UnSAM, whole-image or promptable, to a model folder.
    """
    request = parse_request(words, to)
    if request.source_format == CHECKPOINT:
        from unsam_cli.convert.checkpoint import convert_weights

        return convert_weights(request, run)
    from unsam_cli.convert.stage import convert

    least = {"min_area": BSDS_MIN_AREA} if request.source_format == "bsds500" else {}
    reading = ReadSettings(images=images, png=png, **{**least, **read})
    return convert(request, reading, replace(write, images=images), run)
