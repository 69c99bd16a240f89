"""unsam run IMAGES... -o FOLDER"""  # noqa: D400

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from unsam_cli.cli import options
from unsam_cli.cli.pipe import Pipe
from unsam_cli.cli.pipe_options import Words, stage_options
from unsam_cli.cli.settings import field_options
from unsam_cli.commands import conquer, divide, extract_features, view
from unsam_cli.run.inputs import ImageQuery
from unsam_cli.run.settings import RunSettings
from unsam_cli.run.shards import parse_shard


@options.command("run", "Segment images in one go: masks, report, overlays.")
@options.images_argument
@options.run_option(
    "-o",
    "--output",
    required=True,
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    group="Output",
    help="Folder for masks.json, report.html and overlays/; it is created if it does not exist.",
)
@options.run_option(
    "--keep",
    is_flag=True,
    group="Output",
    help="Keep features and objects, in FOLDER/stages/. They are large.",
)
@options.run_option(
    "--report/--no-report", default=True, group="Output", help="Write FOLDER/report.html."
)
@options.run_option(
    "--overlays",
    is_flag=True,
    group="Output",
    help="Also write each image with its masks drawn over it, as PNG.",
)
@stage_options(extract_features.command, divide.command, conquer.command)
@field_options(RunSettings, "resume", "shard", "on_error", "seed", "jobs")
def command(
    images: ImageQuery,
    output: Path,
    keep: bool,
    report: bool,
    overlays: bool,
    stages: Words,
    shard: str,
    **shared: Any,
) -> int:
    """Segment images into objects, parts, and parts of parts, and show them.

    Reads images; writes a folder. The masks are those of extract-features, divide, extract-features
    --regions and conquer in a pipe. Options of a stage begin with its name. In a config file each
    stage has its own table.

    \b
      unsam run photos/ -o out/
      unsam run photos/ -o out/ --divide.tau 0.2 --conquer.max-masks 100 --overlays
      unsam run photos/ -o out/ --extract-features.backbone vit_base_patch8_224.dino
    """
    pipe = Pipe(
        {c.name or "": c for m in (extract_features, divide, conquer, view) for c in [m.command]},
        stages,
        images,
        output,
        parse_shard(shard, os.environ),
        keep,
        report,
        overlays,
        bool(shared["resume"]),
    )
    return pipe.run()
