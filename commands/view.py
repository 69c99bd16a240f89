"""unsam view MASKS.json... --images DIR -o REPORT.html"""  # noqa: D400

from __future__ import annotations

from pathlib import Path

import click

from unsam_cli.cli import options


@options.command("view", "Show masks as an HTML report or as overlays.")
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
    help="Names of the masks files in the report.  [default: their file names]",
)
@options.run_option(
    "--overlays",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    group="Output",
    help="Also write each image with its masks drawn over it, as PNG.",
)
@options.run_option(
    "--depth",
    type=click.IntRange(0),
    group="Output",
    help="Maximum depth of the hierarchy in overlays; 0 draws only whole objects.  [default: all]",
)
@options.on_error_option
@options.output_options
def command(
    masks: tuple[str, ...],
    images: Path,
    names: str | None,
    overlays: Path | None,
    depth: int | None,
    on_error: str,
    output: str,
    no_clobber: bool,
) -> int:
    """Write one HTML file that shows masks and their hierarchy; it works without a network.

    Reads masks files in any form, and the images. Several files are shown side by side. With
    --overlays and without -o, the command writes only overlays.

    \b
      unsam view masks.json --images photos/ -o report.html
      unsam view sam.json ours.json --names SAM,ours --images photos/ -o both.html
      unsam view masks.json --images photos/ --overlays overlays/
    """
    from unsam_cli.view import stage

    source = click.get_current_context().get_parameter_source("output")
    only_overlays = overlays is not None and source == click.core.ParameterSource.DEFAULT
    return stage.view(
        masks or ("-",),
        images,
        names=names,
        output=None if only_overlays else output,
        no_clobber=no_clobber,
        overlays=overlays,
        depth=depth,
        on_error=on_error,
    )
