"""What the pages of the commands show of ``--help``; ``make docs`` runs it through cog."""

from __future__ import annotations

import cog
from click.testing import CliRunner

from unsam_cli.cli import cli


def show(name: str) -> None:
    """Write the help of a command as a block of Markdown."""
    ran = CliRunner().invoke(cli, [name, "--help"], terminal_width=96)
    assert ran.exit_code == 0, ran.output
    cog.out("```text\n" + ran.output.rstrip() + "\n```\n")
