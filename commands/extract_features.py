"""unsam extract-features [IMAGES...] -o FEATURES.h5"""  # noqa: D400

from __future__ import annotations

from typing import Any

import click

from unsam_cli.cli import options
from unsam_cli.cli.settings import settings_options
from unsam_cli.extraction.settings import BackboneSettings, ExtractSettings, PlanSettings
from unsam_cli.run.inputs import ImageQuery
from unsam_cli.run.settings import Compute, RunSettings


def _size(context: click.Context, parameter: click.Parameter, value: int | None) -> int:
    from unsam_cli.backbones.registry import usual_size

    return value or usual_size(context.params["backbone"])


@options.command("extract-features", "Write patch features of images, or of their masks.")
@options.images_argument
@options.files_option(
    "--regions",
    metavar="MASKS.json",
    help="Write one record per mask of a masks file (- is standard input) instead of one per "
    "image.",
)
@settings_options("network", BackboneSettings)
@settings_options("plan", PlanSettings, callbacks={"size": _size})
@settings_options("stored", ExtractSettings, build=dict)
@settings_options("compute", Compute)
@options.pixel_options
@options.run_options
def command(
    images: ImageQuery,
    regions: str | None,
    network: BackboneSettings,
    plan: PlanSettings,
    stored: dict[str, Any],
    compute: Compute,
    run: RunSettings,
) -> int:
    """Write the patch features of images to an HDF5 file.

    Reads images; writes one record per image, or one per mask with --regions.

    \b
      unsam extract-features photos/ -o features.h5
      unsam extract-features photos/ --backbone vit_base_patch8_224.dino \\
          --weights dino_vitbase8_pretrain.pth -o features.h5
      unsam extract-features photos/ --regions masks.json --whole-image -o regions.h5
    """
    from unsam_cli.extraction.stage import extract_features

    return extract_features(
        images,
        network,
        ExtractSettings(plan=plan, **stored),
        compute,
        run,
        regions=regions,
    )
