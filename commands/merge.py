"""unsam merge FILE... -o FILE"""  # noqa: D400

from __future__ import annotations

from pathlib import Path

import click

from unsam_cli import options


@options.command("merge", "Join the shards of one run.")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE..."
)
@options.output_options
def command(files: tuple[Path, ...], output: str, no_clobber: bool) -> None:
    """Join the shards of one run, features (HDF5) or masks (JSON).

    The shards may come in any order; the result is what one run would have written, to the last
    byte.

    \b
      unsam merge features.0.h5 features.1.h5 -o features.h5
      unsam merge masks.*.json -o masks.json
    """
    from unsam_cli.run.merging import merge

    merge(files, output=output, no_clobber=no_clobber)
