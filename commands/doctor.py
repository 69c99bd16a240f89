"""unsam doctor"""  # noqa: D400

from __future__ import annotations

import click

from unsam_cli.cli import options


@options.command("doctor", "Check this installation and report what it can do.")
@options.run_option("--json", "json", is_flag=True, group="Output", help="Write JSON.")
@options.run_option(
    "--fast", is_flag=True, help="Skip the import of torch and the speed measurement."
)
def command(json: bool, fast: bool) -> None:
    """Show versions, threads, devices, speed, caches and missing optional packages.

    \b
      unsam doctor
      unsam doctor --json --fast
    """
    from unsam_cli.doctor import as_json, as_text, examine

    click.echo((as_json if json else as_text)(examine(full=not fast)))
