"""Defaults from outside the command line: a TOML file, and the environment.

Both are checked against the existing options. An unknown name in any table of the file is an error.
The environment may hold variables for other programs, so an unknown variable is an error only if
it has the name of the running command; otherwise a warning is logged.
"""

from __future__ import annotations

import datetime
import difflib
import logging
import os
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

import click
from click.core import ParameterSource

from unsam_cli.errors import UsageError
from unsam_cli.io.files import read_small
from unsam_cli.io.kinds import HEAD, mistaken

logger = logging.getLogger(__name__)

PREFIX = "UNSAM"
_FILE = "unsam.config"
_MOST_BYTES = 2**20  # of a file of defaults


def read_defaults(context: click.Context, parameter: click.Parameter, path: str | None) -> None:
    """Take the command's table of a TOML file as defaults, below the environment.

    Raises
    ------
    UsageError
        It is not TOML, or has a name or value that no option accepts.
    MissingInputError
        No such file.
    """
    if path is None:
        return
    tables = _parsed(path)
    commands = _commands(context)
    for name, table in tables.items():
        _check_table(path, name, table, commands)
    values = {
        _variable(key): value for key, value in tables.get(context.info_name or "", {}).items()
    }
    context.meta[_FILE] = path, frozenset(values)
    context.default_map = {**(context.default_map or {}), **values}


def config_file(context: click.Context) -> str | None:
    """Return the file of defaults that was read, if any."""
    path: str | None = context.meta.get(_FILE, (None, ()))[0]
    return path


def origin(context: click.Context, parameter: click.Parameter) -> str | None:
    """Say where the value of an option comes from, if not from the command line."""
    name = parameter.name or ""
    source = context.get_parameter_source(name)
    if source is ParameterSource.ENVIRONMENT:
        return f"{context.auto_envvar_prefix}_{name.upper()}"
    path, keys = context.meta.get(_FILE, ("", ()))
    if source is ParameterSource.DEFAULT_MAP and name in keys:
        return f"{path}: [{context.info_name}] {_written(name)}"
    return None


def check_environment(context: click.Context) -> None:
    """Check the environment for variables that look like settings but are not.

    Raises
    ------
    UsageError
        One with the name of the running command has no option.
    """
    found = sorted(name for name in os.environ if name.startswith(f"{PREFIX}_"))
    if not found or context.auto_envvar_prefix is None:
        return
    own = f"{context.auto_envvar_prefix}_"
    known = {
        f"{PREFIX}_{_variable(command)}_{name}".upper()
        for command, options in _commands(context).items()
        for name in [*options, "config"]
    }
    for name in found:
        if name not in known:
            # The common beginning would make all names alike.
            start = len(own if name.startswith(own) else f"{PREFIX}_")
            ends = [other[start:] for other in known if other.startswith(name[:start])]
            close = difflib.get_close_matches(name[start:], ends, 1)
            hint = f"; did you mean {name[:start]}{close[0]}?" if close else ""
            text = f"{name} is not a setting{hint}"
            if name.startswith(own):
                raise UsageError(f"{text}; correct or unset the variable")
            logger.warning("%s; the variable is ignored", text)


def _parsed(path: str) -> dict[str, Any]:
    content = read_small(path, _MOST_BYTES)
    try:
        # A byte-order mark is what some editors begin a file with.
        return tomllib.loads(content.decode("utf-8-sig"))
    except RecursionError as e:
        raise UsageError(f"{path}: not TOML (too deep)") from e
    except ValueError as e:
        text = mistaken(content[:HEAD], "config")
        raise UsageError(f"{path}: {text or f'not TOML ({e})'}") from e


def _commands(context: click.Context) -> dict[str, dict[str, click.Option]]:
    """Return the options of all commands by the names of their parameters."""
    root = context.find_root()
    commands = {context.info_name or "": context.command}
    if isinstance(root.command, click.Group):
        names = root.command.list_commands(root)
        commands = {n: c for n in names if (c := root.command.get_command(root, n))}
    return {
        name: {
            p.name: p
            for p in command.params
            if isinstance(p, click.Option) and p.name and p.name != "config"
        }
        for name, command in commands.items()
    }


def _check_table(
    path: str, name: str, table: object, commands: Mapping[str, Mapping[str, click.Option]]
) -> None:
    """Raise a UsageError unless each key of a table is an option that takes its value."""
    if not isinstance(table, dict):
        if name in commands:
            raise UsageError(f"{path}: {name} is not a table; write [{name}] above its options")
        raise UsageError(
            f"{path}: {name!r:.80} is outside a table; write [COMMAND] above it, such as [divide]"
        )
    if name not in commands:
        raise UsageError(
            f"{path}: [{name:.80}] is not a command{_nearest(name, commands)}; the commands "
            f"are {', '.join(commands)}"
        )
    options = commands[name]
    seen: set[str] = set()
    for key, value in table.items():
        option = options.get(_variable(key))
        if option is None:
            names = [_written(n) for n in options]
            hint = _nearest(_written(key), names) or f"; one of {', '.join(sorted(names))}"
            raise UsageError(f"{path}: [{name}] has no option {key!r:.80}{hint}")
        if _variable(key) in seen:
            raise UsageError(f"{path}: [{name}] has {_written(_variable(key))} twice")
        seen.add(_variable(key))
        if wanted := _unfit(option, value):
            raise UsageError(f"{path}: [{name}] {key} is {_kind(value)}; {wanted}")


def _unfit(option: click.Option, value: object) -> str | None:
    """Say what the option takes instead of `value`; None if it may be right."""
    if option.multiple and isinstance(value, list) and all(isinstance(v, str) for v in value):
        return None
    if isinstance(value, str):
        return None  # read as on the command line
    if isinstance(option.type, click.types.BoolParamType):
        return None if isinstance(value, bool) else "write true or false"
    if isinstance(option.type, click.types.IntParamType):
        whole = _is_number(value) and not isinstance(value, float)
        return None if whole else "write a whole number"
    if isinstance(option.type, click.types.FloatParamType):
        return None if _is_number(value) else "write a number"
    if isinstance(option.type, click.types.StringParamType) and _is_number(value):
        return None
    return 'write text in quotes, such as "0.5,0.4"' if option.callback else "write text in quotes"


def _is_number(value: object) -> bool:
    return type(value) is float or (type(value) is int and value.bit_length() < 64)


def _kind(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > 63:
        return "a number that is too large"
    if isinstance(value, bool | int | float):
        return f"{value!s:.40}".lower()
    if isinstance(value, datetime.date | datetime.time):
        return "a date or time"
    return "a list" if isinstance(value, list) else "a table"


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]}?" if close else ""


def _variable(name: str) -> str:
    return name.replace("-", "_")


def _written(name: str) -> str:
    return name.replace("_", "-")
