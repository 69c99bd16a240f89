"""unsam divide [FEATURES.h5] -o MASKS.json"""  # noqa: D400

from __future__ import annotations

from typing import Any

import click

from unsam_cli import options
from unsam_cli.run.runner import RunSettings


@options.command("divide", "Cut images into objects, top-down.")
@click.argument("features", required=False, metavar="[FEATURES.h5]")
@options.option(
    "--method",
    type=click.Choice(["maskcut"]),
    default="maskcut",
    help="Recursive normalized cut.",
)
@options.option(
    "--max-masks", default=3, type=click.IntRange(1), help="Most objects cut from an image."
)
@options.option(
    "--tau",
    default=0.15,
    type=click.FloatRange(-1, 1, max_open=True),
    help="Patches whose cosine similarity is above it are connected.",
)
@options.files_option("--detections", help="Take any detector's COCO results instead of cutting.")
@options.option("--min-score", default=0.3, type=float, help="With --detections: least score kept.")
@options.option(
    "--refine",
    type=click.Choice(["none", "guided"]),
    default="guided",
    help="How borders follow the edges of the picture.",
)
@options.format_option
@options.device_option
@options.batch_size_option
@options.run_options
def command(
    features: str | None, detections: str | None, kind: str, run: RunSettings, **method: Any
) -> int:
    """Cut images into objects by recursive normalized cuts of their patch features.

    Reads a features file; writes masks as COCO JSON.

    \b
      unsam extract-features photo.jpg | unsam divide > objects.json
      unsam divide --detections results.json features.h5 -o objects.json
    """
    from unsam_cli.divide import stage

    method.pop("method")  # there is but one
    settings = stage.DivideSettings(**method)
    if detections is None:
        return stage.divide(features or "-", settings, run, kind=kind)
    return stage.divide_detections(detections, settings, run, features=features, kind=kind)
