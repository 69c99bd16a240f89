"""unsam refine [MASKS.json] --images DIR -o MASKS.json"""  # noqa: D400

from __future__ import annotations

from pathlib import Path

import click

from unsam_cli.cli import options
from unsam_cli.cli.settings import settings_options
from unsam_cli.refinement.settings import PRESETS, WEIGHTS_HELP, RefineSettings
from unsam_cli.run.settings import Compute, RunSettings


@options.command("refine", "Move the borders of masks to the edges of their images.")
@options.file_argument("masks", "MASKS.json")
@options.files_option(
    "--images",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    default=".",
    help="Folder of the images.",
)
@options.preset_option(
    PRESETS, "default", "Set of default values: default, or paper (the published rules)."
)
@settings_options("settings", RefineSettings)
@options.files_option("--weights", help=WEIGHTS_HELP)
@settings_options("compute", Compute, leave_out=("dtype",))
@options.pixel_options
@options.mask_run_options
def command(
    masks: str,
    images: Path,
    settings: RefineSettings,
    weights: str | None,
    compute: Compute,
    run: RunSettings,
) -> int:
    """Refine masks against their photographs, all masks of an image together.

    Reads a masks file in any form that lists its images, and the images; writes masks as COCO
    JSON. Ids, scores and other keys are kept; parents are computed again from the refined masks.

    \b
      unsam refine masks.json --images photos/ -o refined.json
      unsam conquer regions.h5 | unsam refine --images photos/ --method crf > refined.json
    """
    from unsam_cli.refinement.stage import refine

    return refine(masks, settings, compute, run, images=images, weights=weights)
