"""Man pages from the source of ``--help``: ``python docs/man.py FOLDER``; ``make man`` runs it."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from unsam_cli import __version__
from unsam_cli.cli import cli
from unsam_cli.cli.command import GROUPS
from unsam_cli.cli.group import EPILOG


def escaped(text: str) -> str:
    """Return text as roff prints it: no character of it is a command."""
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)


def paragraphs(help_text: str) -> Iterator[str]:
    """Yield the paragraphs of a help text; those after click's mark keep their lines."""
    for block in inspect.cleandoc(help_text).split("\n\n"):
        lines = escaped(block.replace("\b\n", ""))
        yield f".PP\n.nf\n{lines}\n.fi" if block.startswith("\b") else f".PP\n{lines}"


def options(command: click.Command, context: click.Context) -> Iterator[str]:
    """Yield the options under their headings."""
    rows: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            rows.setdefault(getattr(parameter, "group", "Run"), []).append(record)
    for group in sorted(rows, key=(*GROUPS, *rows).index):
        yield f".SS {escaped(group)}"
        for words, text in rows[group]:
            yield f".TP\n.B {escaped(words)}\n{escaped(text)}"


def page(name: str, command: click.Command, context: click.Context) -> str:
    """Return the page of a command."""
    title = f"unsam-{name}" if name else "unsam"
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    parts = [
        f'.TH "{title.upper()}" "1" "" "unsam {__version__}" "unsam"',
        f".SH NAME\n{escaped(title)} \\- {escaped(command.get_short_help_str(200))}",
        f".SH SYNOPSIS\n{escaped(usage)}",
        ".SH DESCRIPTION",
        *paragraphs(command.help or ""),
        ".SH OPTIONS",
        *options(command, context),
    ]
    if isinstance(command, click.Group):
        parts.append(".SH COMMANDS")
        for one in command.list_commands(context):
            found = command.get_command(context, one)
            assert found is not None
            text = found.get_short_help_str(200)
            parts.append(f".TP\n.BR {escaped('unsam-' + one)} (1)\n{escaped(text)}")
        parts += [".SH NOTES", *paragraphs(EPILOG)]
    else:
        parts.append(".SH SEE ALSO\n.BR unsam (1)")
    return "\n".join(parts) + "\n"


def write(folder: Path) -> list[Path]:
    """Write the pages of all commands into `folder`, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    root = click.Context(cli, info_name="unsam")
    pages = {"unsam.1": page("", cli, root)}
    for name in cli.list_commands(root):
        command = cli.get_command(root, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=root)
        pages[f"unsam-{name}.1"] = page(name, command, context)
    for file, text in pages.items():
        (folder / file).write_text(text, encoding="utf-8")
    return [folder / file for file in pages]


if __name__ == "__main__":
    write(Path(sys.argv[1]))
