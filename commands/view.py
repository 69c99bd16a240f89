"""unsam view MASKS.json --images DIR -o REPORT.html"""  # noqa: D400

from __future__ import annotations

from pathlib import Path

import click

from unsam_cli.cli import options


@options.command("view", "Look at masks: an HTML report, overlays.")
@options.file_argument("masks", "MASKS.json")
@options.files_option(
    "--images",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    default=".",
    help="Folder that the masks' file names are relative to.",
)
@options.run_option(
    "--overlays",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    group="Output",
    help="Also write each picture with its masks drawn over it, as PNG.",
)
@options.run_option(
    "--depth",
    type=click.IntRange(0),
    group="Output",
    help="Draw overlays no deeper than this into the hierarchy; 0 draws wholes.  [default: all]",
)
@options.on_error_option
@options.output_options
def command(
    masks: str,
    images: Path,
    overlays: Path | None,
    depth: int | None,
    on_error: str,
    output: str,
    no_clobber: bool,
) -> int:
    """Write one HTML file to look at masks and their hierarchy with; it needs no network.

    Reads any form of masks file and the images. With --overlays and no -o, only overlays are
    written.

    \b
      unsam view masks.json --images photos/ -o report.html
      unsam view masks.json --images photos/ --overlays overlays/
    """
    from unsam_cli.view import stage

    source = click.get_current_context().get_parameter_source("output")
    only_overlays = overlays is not None and source == click.core.ParameterSource.DEFAULT
    return stage.view(
        masks,
        images,
        output=None if only_overlays else output,
        no_clobber=no_clobber,
        overlays=overlays,
        depth=depth,
        on_error=on_error,
    )
