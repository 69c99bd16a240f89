"""unsam doctor"""  # noqa: D400

from __future__ import annotations

import click

from unsam_cli.cli import options


@options.command("doctor", "Check this installation and report what it can do.")
@options.run_option("--json", "json", is_flag=True, group="Output", help="Write JSON.")
@options.run_option(
    "--fast", is_flag=True, help="Skip the import of torch and the speed measurement."
)
@options.run_option(
    "--compile",
    "ahead",
    is_flag=True,
    help="Compile what the first run of the pipe would compile, and do nothing else.",
)
def command(json: bool, fast: bool, ahead: bool) -> None:
    """Show versions, threads, devices, speed, caches and missing optional packages.

    \b
      unsam doctor
      unsam doctor --json --fast
      unsam doctor --compile
    """
    from unsam_cli.compiling import compile_pipe
    from unsam_cli.doctor import as_json, as_text, examine

    findings = compile_pipe() if ahead else examine(full=not fast)
    click.echo((as_json if json else as_text)(findings))
