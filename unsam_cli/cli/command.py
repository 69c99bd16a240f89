"""What every command is made of: its options under headings, its name, its step in the history."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from unsam_cli.cli.bundle import F, build_all
from unsam_cli.cli.defaults import check_environment, origin, read_defaults
from unsam_cli.cli.files import refuse_named
from unsam_cli.cli.idle import refuse_idle
from unsam_cli.cli.log import Once, configure
from unsam_cli.errors import UnsamError
from unsam_cli.run.output import refuse_folder
from unsam_cli.run.provenance import Step, plain
from unsam_cli.run.resources import refuse_small_address_space

GROUPS = (
    *("Input", "Output", "Method", "Prompts", "Network", "Samples", "Losses", "Training"),
    *("extract-features", "divide", "conquer", "Compute", "Run"),  # stages of `unsam run`
)
PRESET = "unsam.preset"
"""Key of the chosen preset in the context."""
SHARED = "unsam.shared"
"""Key of the words that all commands share, such as ``-q``, in the context."""
ONCE = "unsam.once"
"""Key of the filter that drops repeated warnings."""
STANDS_FOR = "unsam.stands-for"
"""Key of the output that messages name, in place of the files of ``run --resume``."""
MOST = 2**63 - 1
"""Whole numbers are stored in 64 bits."""


class _OutputFile(click.Path):
    """The path of a file to write; the name of a folder is refused as typed."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "file"  # in the help

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        refuse_folder(os.fspath(value))
        return Path(os.fsdecode(super().convert(value, param, ctx)))


OUTPUT_FILE = _OutputFile()


class Option(click.Option):
    """An option with a heading in the help, which may or may not change results.

    Parameters
    ----------
    group : str
        Heading of the help page, one of `GROUPS`.
    provenance : bool or 'changed'
        Recorded in outputs and compared on ``--resume``: it changes results. See
        :class:`~unsam_cli.settings.Declared`.
    """

    def __init__(
        self, *args: Any, group: str = "Method", provenance: bool | str = True, **kwargs: Any
    ) -> None:
        kwargs.setdefault("show_default", True)
        super().__init__(*args, **kwargs)
        self.group, self.provenance = group, provenance

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        """Convert a value; refuse numbers that are invalid for every option."""
        cast = super().type_cast_value(ctx, value)
        if isinstance(cast, float) and not math.isfinite(cast):
            raise click.BadParameter(f"{value} is not a finite number")
        if isinstance(cast, int) and abs(cast) > MOST:
            raise click.BadParameter(f"{value} is too large; the maximum is {MOST}")
        return cast

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """Convert and check a value; an error says where it comes from."""
        try:
            return super().process_value(ctx, value)
        except click.BadParameter as e:
            where = origin(ctx, self)
            if where is None:
                raise
            raise click.BadParameter(f"{e.message} ({where})", ctx, self) from e


def option(*declarations: str, **kwargs: Any) -> Callable[[F], F]:
    """Declare an option of a command: ``click.option`` with our :class:`Option`."""
    return click.option(*declarations, cls=Option, **kwargs)


def run_option(*declarations: str, group: str = "Run", **kwargs: Any) -> Callable[[F], F]:
    """Declare an option that does not change results."""
    return option(*declarations, group=group, provenance=False, **kwargs)


def preset_option(
    presets: Mapping[str, Mapping[str, Any]], default: str, text: str
) -> Callable[[F], F]:
    """Declare ``--preset``: defaults of other options, below those of a config file.

    `text` explains the presets in the help.
    """

    def use(context: click.Context, parameter: click.Parameter, name: str) -> None:
        context.default_map = {**presets[name], **(context.default_map or {})}
        context.meta[PRESET] = presets[name]

    return run_option(
        "--preset",
        type=click.Choice(list(presets)),
        default=default,
        group="Method",
        is_eager=True,
        expose_value=False,
        callback=use,
        help=f"{text} This help shows those of {default}; --preset NAME --help shows those of "
        "another.",
    )


class Command(click.Command):
    """A subcommand: help under headings, and logging set up before it runs."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under their headings."""
        _settle_defaults(ctx, self)
        rows: dict[str, list[tuple[str, str]]] = {group: [] for group in GROUPS}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                rows[getattr(parameter, "group", "Run")].append(record)
        for group, records in rows.items():
            if records:
                with formatter.section(group):
                    formatter.write_dl(records)

    def invoke(self, ctx: click.Context) -> Any:
        """Set up logging, then run the command; its exit code is what it returns."""
        quiet, verbose = ctx.params.pop("quiet"), ctx.params.pop("verbose")
        debug, as_json = ctx.params.pop("debug"), ctx.params.pop("log_json")
        ctx.find_root().meta["unsam.debug"] = debug
        words = ["-q"] * quiet + ["-v"] * verbose
        words += ["--debug"] * debug + ["--log-json"] * as_json
        ctx.find_root().meta[SHARED] = words
        once = ctx.find_root().meta.setdefault(ONCE, Once())
        configure(-1 if quiet else verbose, as_json=as_json, once=once)
        ctx.find_root().meta["unsam.plain"] = quiet or as_json
        self.check(ctx)
        ctx.exit(super().invoke(ctx) or 0)

    def check(self, ctx: click.Context) -> None:
        """Refuse options that are wrong, by themselves or together; this begins no work.

        Raises
        ------
        UsageError
            The message names an option.
        """
        check_environment(ctx)
        if any(getattr(p, "group", "") == "Output" for p in self.params):
            refuse_small_address_space()
        refuse_idle(ctx)
        refuse_named(ctx)
        with ctx.scope(cleanup=False):
            build_all(self.callback, ctx.params)


def _settle_defaults(ctx: click.Context, command: click.Command) -> None:
    """Apply a config file and the usual preset, so that the help shows their defaults."""
    for parameter in command.params:
        if parameter.is_eager and ctx.get_parameter_source(parameter.name or "") is None:
            with contextlib.suppress(click.UsageError, UnsamError):
                parameter.handle_parse_result(ctx, {}, [])


def command(name: str, short_help: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a function the subcommand `name`, with the options that every command has."""
    shared = [
        run_option("-q", "--quiet", is_flag=True, help="Show only errors on stderr."),
        run_option(
            "-v",
            "--verbose",
            count=True,
            show_default=False,
            help="Show more messages on stderr; -vv adds debugging.",
        ),
        run_option("--log-json", is_flag=True, help="Write stderr as JSON, one object per line."),
        run_option("--debug", is_flag=True, help="Show tracebacks of errors."),
        run_option(
            "--config",
            metavar="FILE",
            is_eager=True,
            expose_value=False,
            callback=read_defaults,
            help="TOML file with default values, one table per command.",
        ),
    ]

    def decorate(function: Callable[..., Any]) -> click.Command:
        for declare in reversed(shared):
            function = declare(function)
        settings = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
        return click.command(name, cls=Command, short_help=short_help, context_settings=settings)(
            function
        )

    return decorate


def step_of(context: click.Context) -> Step:
    """Return the running command with every option that changes results."""
    values: dict[str, Any] = {}
    for parameter in context.command.params:
        if isinstance(parameter, Option) and parameter.provenance and parameter.name:
            name, value = max(parameter.opts, key=len).lstrip("-"), context.params[parameter.name]
            if parameter.provenance != "changed" or value not in (None, parameter.default):
                values[name] = plain(value)
    return Step(context.info_name or "", values)
