"""unsam completion SHELL"""  # noqa: D400

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from unsam_cli.cli import options


@options.command("completion", "Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print a shell completion script; install it by writing it to the shell's folder.

    \b
      unsam completion bash > ~/.local/share/bash-completion/completions/unsam
      unsam completion zsh > "${fpath[1]}/_unsam"
      unsam completion fish > ~/.config/fish/completions/unsam.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    root = click.get_current_context().find_root()
    click.echo(kind(root.command, {}, "unsam", "_UNSAM_COMPLETE").source())
