"""unsam conquer [FEATURES.h5] -o MASKS.json"""  # noqa: D400

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from unsam_cli import options
from unsam_cli.run.runner import RunSettings


@options.command("conquer", "Merge patches into parts and parts of parts, bottom-up.")
@options.file_argument("features", "FEATURES.h5")
@options.option(
    "--thresholds",
    default="0.6,0.5,0.4,0.3,0.2,0.1",
    callback=options.parse_floats,
    metavar="LIST",
    help="Cosine similarities down to which patches are merged, a level of masks each.",
)
@options.option(
    "--min-patches", default=4, type=click.IntRange(1), help="Least size of a mask, in patches."
)
@options.option(
    "--coverage",
    default=0.9,
    type=click.FloatRange(0, 1),
    help="Least fraction of a mask that lies in its region.",
)
@options.option(
    "--nms-iou",
    default=0.9,
    type=click.FloatRange(0, 1),
    help="Masks that overlap a better one by more are dropped.",
)
@options.option(
    "--nms-window",
    default=0,
    type=click.IntRange(0),
    help="Compare a mask only with the next WINDOW - 1 by size; 0 compares all.",
)
@options.option(
    "--max-masks",
    default=1000,
    type=click.IntRange(0),
    help="Most masks of an image, the best; 0 keeps all, and so does --preset paper.",
)
@options.option(
    "--refine",
    type=click.Choice(["none", "guided"]),
    default="guided",
    help="How borders follow the edges of the picture.",
)
@options.option(
    "--preset",
    type=click.Choice(["default", "paper"]),
    default="default",
    help="The better way, or the published one with its quirks.",
)
@options.run_option(
    "--images",
    type=click.Path(file_okay=False, path_type=Path),
    group="Input",
    help="Refine with the original images instead of the previews in the features file.",
)
@options.format_option
@options.run_options
def command(features: str, images: Path | None, kind: str, run: RunSettings, **method: Any) -> int:
    """Merge patches bottom-up at falling similarities: masks of parts, and of parts of parts.

    Reads a features file with a record for each region; writes masks as COCO JSON.

    \b
      unsam conquer regions.h5 -o masks.json
      unsam extract-features photo.jpg --regions objects.json --whole-image |
        unsam conquer > masks.json
    """
    from unsam_cli.conquer.settings import ConquerSettings
    from unsam_cli.conquer.stage import conquer

    return conquer(features, ConquerSettings(**method), run, images=images, kind=kind)
