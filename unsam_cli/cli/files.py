"""What the options of a command read and write: no output may be an input.

Commands declare nothing for it. Options under the heading *Output* name what is written; any other
word on the command line that names a file is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import click

from unsam_cli.cli.defaults import config_file
from unsam_cli.run.replacing import files_in, files_of, refuse_doubles, refuse_replacing


class ListArgument(click.Argument):
    """An argument whose folders the command lists itself, such as those of images."""


def refuse_named(context: click.Context) -> None:
    """Refuse a command line that names an input as an output, or one output twice.

    Raises
    ------
    UsageError
        The message names the file.
    """
    outputs = [
        str(value) for p in context.command.params if _writes(p) for value in _of(context, p)
    ]
    refuse_doubles(outputs)
    refuse_replacing(chain.from_iterable(map(files_of, outputs)), _reads(context))


def _writes(parameter: click.Parameter) -> bool:
    return _names_files(parameter) and getattr(parameter, "group", "") == "Output"


def _names_files(parameter: click.Parameter) -> bool:
    return isinstance(parameter.type, click.Path | click.types.StringParamType)


def _of(context: click.Context, parameter: click.Parameter) -> Iterator[Any]:
    """Yield the values of a parameter, none or many."""
    value = context.params.get(parameter.name or "")
    yield from value if isinstance(value, tuple) else () if value is None else (value,)


def _reads(context: click.Context) -> Iterator[str | Path]:
    """Yield all inputs on the command line: files, and the files in folders."""
    yield config_file(context) or ""
    for parameter in context.command.params:
        if not _names_files(parameter) or _writes(parameter):
            continue
        listed = isinstance(parameter, ListArgument) or not _may_be_file(parameter)
        for place in _of(context, parameter):
            if isinstance(place, str | Path):  # not what a callback made of it
                yield place
                yield str(place).removeprefix("@")
                yield from () if listed else files_in(Path(place))


def _may_be_file(parameter: click.Parameter) -> bool:
    return getattr(parameter.type, "file_okay", True)
