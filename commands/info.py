"""unsam info FILE..."""

from __future__ import annotations

from pathlib import Path

import click

from unsam_cli.cli import options


@options.command("info", "Say what a file is, how it was made, and whether it is damaged.")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE..."
)
@options.run_option("--json", "json", is_flag=True, group="Output", help="Write JSON.")
@options.run_option(
    "--fast", is_flag=True, help="Read only what a file says of itself; do not look for damage."
)
def command(files: tuple[Path, ...], json: bool, fast: bool) -> int:
    """Say what files are, which commands made them, and whether they are complete and undamaged.

    FILE is a features file, masks, an evaluation, the folder of a model or a training, or the .part
    folder of an interrupted run. The exit code is 65 if something is damaged, 66 if it is missing.

    \b
      unsam info masks.json
      unsam info --json features.*.h5 run/ | jq '.[].damage'
    """
    from unsam_cli.info import as_json, inspect

    reports = [inspect(path, full=not fast) for path in files]
    click.echo(as_json(reports) if json else "\n".join(report.text() for report in reports))
    return max(report.exit_code for report in reports)
