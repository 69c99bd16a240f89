"""unsam view MASKS.json... --images DIR -o REPORT.html"""  # noqa: D400

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from unsam_cli.cli import options
from unsam_cli.cli.settings import settings_options
from unsam_cli.view.settings import FigureSettings


@options.command("view", "Show masks as an HTML report, as overlays, or as a figure.")
@click.argument("masks", nargs=-1, metavar="[MASKS.json]...")
@options.files_option(
    "--images",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    default=".",
    help="Folder of the images.",
)
@options.run_option(
    "--names",
    metavar="NAME,...",
    group="Input",
    help="Names of the masks files in report and figure.  [default: their file names]",
)
@options.files_option(
    "--ground-truth",
    metavar="GT.json",
    help="Masks file of the ground truth: it gets a row of the figure, and --select best and worst "
    "rank by recall.",
)
@options.run_option(
    "--overlays",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    group="Output",
    help="Also write each image with its masks drawn over it, as PNG.",
)
@options.run_option(
    "--figure",
    type=options.OUTPUT_FILE,
    group="Output",
    help="Also write a contact sheet for print, as .png or .pdf: a row of photographs, and a row "
    "for each masks file.",
)
@settings_options("settings", FigureSettings)
@options.run_option(
    "--depth",
    type=click.IntRange(0),
    group="Output",
    help="Maximum depth of the hierarchy in overlays and figure; 0 draws only whole objects.  "
    "[default: all]",
)
@options.pixel_options
@options.on_error_option
@options.seed_option
@options.output_options
def command(
    masks: tuple[str, ...],
    images: Path,
    overlays: Path | None,
    figure: Path | None,
    settings: FigureSettings,
    output: str,
    no_clobber: bool,
    ground_truth: str | None,
    **choices: Any,
) -> int:
    """Write one HTML file that shows masks and their hierarchy; it works without a network.

    Reads masks files in any form, and the images. Several files are shown side by side. With
    --overlays or --figure and without -o, the command writes no report.

    \b
      unsam view masks.json --images photos/ -o report.html
      unsam view sam.json ours.json --names SAM,ours --images photos/ -o both.html
      unsam view masks.json --images photos/ --overlays overlays/
      unsam view sam.json ours.json --images photos/ --figure figure.pdf
    """
    from unsam_cli.view import stage

    source = click.get_current_context().get_parameter_source("output")
    drawn = overlays is not None or figure is not None
    report = None if drawn and source == click.core.ParameterSource.DEFAULT else output
    return stage.view(
        masks or ("-",),
        images,
        stage.Outputs(report, overlays, figure, no_clobber),
        figure=settings,
        truth=ground_truth,
        **choices,
    )
