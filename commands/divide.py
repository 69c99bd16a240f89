"""unsam divide [FEATURES.h5] -o MASKS.json"""  # noqa: D400

from __future__ import annotations

import click

from unsam_cli.cli import options
from unsam_cli.cli.settings import settings_options
from unsam_cli.divide.settings import DivideSettings
from unsam_cli.refinement.settings import WEIGHTS_HELP
from unsam_cli.run.settings import Compute, RunSettings


@options.command("divide", "Cut images into objects, top-down.")
@click.argument("features", required=False, metavar="[FEATURES.h5]")
@options.files_option("--detections", help="COCO results of any detector, used instead of cutting.")
@settings_options("settings", DivideSettings)
@settings_options("compute", Compute, leave_out=("dtype",))
@options.files_option("--weights", help=WEIGHTS_HELP)
@options.mask_run_options
def command(
    features: str | None,
    detections: str | None,
    settings: DivideSettings,
    weights: str | None,
    compute: Compute,
    run: RunSettings,
) -> int:
    """Cut images into objects by recursive normalized cuts of their patch features.

    Reads a features file; writes masks as COCO JSON.

    \b
      unsam extract-features photo.jpg | unsam divide > objects.json
      unsam divide --detections results.json features.h5 -o objects.json
    """
    from unsam_cli.divide import detections_stage, stage

    if detections is None:
        return stage.divide(features or "-", settings, compute, run, weights=weights)
    return detections_stage.divide_detections(detections, settings, run, features=features)
