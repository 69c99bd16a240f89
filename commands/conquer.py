"""unsam conquer [FEATURES.h5] -o MASKS.json"""  # noqa: D400

from __future__ import annotations

from pathlib import Path

import click

from unsam_cli.cli import options
from unsam_cli.cli.settings import settings_options
from unsam_cli.conquer.settings import TIDY, ConquerSettings
from unsam_cli.refinement.settings import WEIGHTS_HELP
from unsam_cli.run.settings import RunSettings


@options.command("conquer", "Merge patches into parts and parts of parts, bottom-up.")
@options.file_argument("features", "FEATURES.h5")
@settings_options("method", ConquerSettings, presets={"tidy": TIDY})
@options.run_option(
    "--images",
    type=click.Path(file_okay=False, path_type=Path),
    group="Input",
    help="Folder of the original images, used for refinement instead of the previews in the "
    "features file.",
)
@options.files_option("--weights", help=WEIGHTS_HELP)
@options.pixel_options
@options.mask_run_options
def command(
    features: str,
    method: ConquerSettings,
    images: Path | None,
    weights: str | None,
    run: RunSettings,
) -> int:
    """Merge patches bottom-up at decreasing similarities into masks of parts and their parts.

    Reads a features file with one record per region; writes masks as COCO JSON.

    \b
      unsam conquer regions.h5 -o masks.json
      unsam conquer regions.h5 --preset tidy -o masks.json
      unsam extract-features photo.jpg --regions objects.json --whole-image |
        unsam conquer > masks.json
    """
    from unsam_cli.conquer.stage import conquer

    return conquer(features, method, run, images=images, weights=weights)
