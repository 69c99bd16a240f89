"""The group of all commands: how they are found, listed, and understood when mistyped."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Sequence

import click

SECTIONS = {
    "Masks without labels": ("run", "extract-features", "divide", "conquer", "refine"),
    "Networks": ("train", "finetune-sam", "predict"),
    "Results": ("view", "evaluate", "convert", "filter", "merge", "info"),
    "Machines": ("slurm-script", "doctor", "completion"),
}
"""Commands in the order of the work; any other follows, by name."""
_FLAGS = ("-q", "--quiet", "-v", "-vv", "--verbose", "--log-json", "--debug")
EPILOG = """\b
Exit codes:  0 done, 1 failure, 2 wrong usage, 3 some images were skipped,
             65 wrong data, 66 missing input, 74 input or output failed,
             75 stopped by a signal (--resume continues), 130 Ctrl-C
Environment: UNSAM_COMMAND_OPTION sets a default: UNSAM_DIVIDE_TAU=0.2
Defaults:    --config FILE, TOML with one table per command
Help:        unsam COMMAND --help; docs/ in the source, from README.md on"""


class CommandGroup(click.Group):
    """A group that imports the file of a command when it is needed, not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all files in ``commands/``, in the order of `SECTIONS`."""
        # By name: commands are above this file, and import from its room.
        package = importlib.import_module("unsam_cli.commands")
        found = {m.name.replace("_", "-") for m in pkgutil.iter_modules(package.__path__)}
        first = [name for names in SECTIONS.values() for name in names if name in found]
        return first + sorted(found - set(first))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        if cmd_name not in self.list_commands(ctx):
            return None
        stem = cmd_name.replace("-", "_")
        module = importlib.import_module(f"unsam_cli.commands.{stem}")
        found: click.Command = module.command
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; name the most similar one if there is none.

        Raises
        ------
        UsageError
            There is no such command.
        """
        names = self.list_commands(ctx)
        if args[0] not in names and not args[0].startswith("-"):
            similar = difflib.get_close_matches(args[0], names, n=1)
            hint = f"; did you mean {similar[0]}?" if similar else ""
            raise click.UsageError(f"no such command: {args[0]}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands in sections, then what holds for all of them."""
        left = self.list_commands(ctx)
        listed = [name for names in SECTIONS.values() for name in names]
        sections = {**SECTIONS, "Other": tuple(name for name in left if name not in listed)}
        for title, names in sections.items():
            found = [(name, self.get_command(ctx, name)) for name in names if name in left]
            rows = [(name, command.get_short_help_str(80)) for name, command in found if command]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def rearranged(words: Sequence[str]) -> list[str]:
    """Understand what other programs accept before, or instead of, the name of a command.

    ``help``, ``help COMMAND`` and ``version`` become options, and the flags that all commands share
    may stand before the command.
    """
    if words and words[0] == "help":
        return [*words[1:2], "--help"]
    if list(words) == ["version"]:
        return ["--version"]
    first = next((i for i, word in enumerate(words) if word not in _FLAGS), len(words))
    if first == len(words) or words[first].startswith("-"):
        return list(words)
    return [words[first], *words[:first], *words[first + 1 :]]
