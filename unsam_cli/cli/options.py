"""Options that several commands share, each defined once.

A command lists these options and its own. Options that belong together reach the command's function
as one object:

``@command``           every command: ``-q -v --log-json --debug --config``
``@images_argument``   ``images``: an :class:`~unsam_cli.run.inputs.ImageQuery` from IMAGES, ``-0``,
                       ``--coco``, ``--image-root``
``@file_argument``     a file, ``-`` is standard input (the default)
``@run_options``       ``run``: a :class:`~unsam_cli.run.runner.RunSettings` from ``-o --no-clobber
                       --resume --shard --on-error --seed --jobs``
``@output_options``    ``-o --no-clobber`` alone, for commands without images to iterate over
``@format_option``     ``--format coco|results|ndjson``
``@on_error_option``   ``--on-error fail|skip``
``@device_option``, ``@batch_size_option``   ``--device``, ``--batch-size``
``@compute_options``   ``compute``: a :class:`Compute` from ``--device --dtype --batch-size``
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from unsam_cli.cli.defaults import check_environment, origin, read_config
from unsam_cli.cli.files import ListArgument, refuse_named
from unsam_cli.cli.idle import refuse_idle
from unsam_cli.cli.log import configure, reporter_factory
from unsam_cli.errors import UnsamError
from unsam_cli.run.inputs import ImageQuery
from unsam_cli.run.output import refuse_folder
from unsam_cli.run.provenance import Step
from unsam_cli.run.resources import refuse_small_address_space, usable_cpus
from unsam_cli.run.runner import RunSettings
from unsam_cli.run.shards import parse_shard

F = TypeVar("F", bound=Callable[..., Any])
Decorator = Callable[[F], F]
GROUPS = (
    "Input",
    "Output",
    "Method",
    "Prompts",
    "Network",
    "Samples",
    "Losses",
    "Training",
    "Compute",
    "Run",
)
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
SEED = click.IntRange(0)
"""Up to `MOST`, as all options: what every generator of random numbers takes."""


class Option(click.Option):
    """An option with a heading in the help, which may or may not change results.

    Parameters
    ----------
    group : str
        Heading of the help page, one of `GROUPS`.
    provenance : bool
        Recorded in outputs and compared on ``--resume``: it changes results.
    """

    def __init__(
        self, *args: Any, group: str = "Method", provenance: bool = True, **kwargs: Any
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
        ctx.find_root().meta["unsam.debug"] = ctx.params.pop("debug")
        as_json = ctx.params.pop("log_json")
        configure(-1 if quiet else verbose, as_json=as_json)
        ctx.find_root().meta["unsam.plain"] = quiet or as_json
        check_environment(ctx)
        if any(getattr(p, "group", "") == "Output" for p in self.params):
            refuse_small_address_space()
        refuse_idle(ctx)
        refuse_named(ctx)
        ctx.exit(super().invoke(ctx) or 0)


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
            callback=read_config,
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


def bundle(
    name: str, build: Callable[..., Any], *declarations: Callable[[Any], Any]
) -> Callable[[F], F]:
    """Declare options whose values reach the function as one argument, made by `build`."""

    def decorate(function: F) -> F:
        taken = _names(declarations)

        @functools.wraps(function)
        def wrapper(**kwargs: Any) -> Any:
            mine = {key: kwargs.pop(key) for key in taken}
            return function(**{name: build(**mine)}, **kwargs)

        for declare in reversed(declarations):
            wrapper = declare(wrapper)
        return wrapper  # type: ignore[return-value]

    return decorate


def _names(declarations: tuple[Callable[[Any], Any], ...]) -> list[str]:
    """Return the parameter names that `declarations` add to a function."""

    def probe() -> None: ...

    for declare in declarations:
        declare(probe)
    return [parameter.name for parameter in probe.__click_params__]  # type: ignore[attr-defined]


images_argument = bundle(
    "images",
    lambda images, null, coco, image_root: ImageQuery(images, null, coco, image_root),
    click.argument("images", cls=ListArgument, nargs=-1, metavar="[IMAGES]..."),
    run_option(
        "-0",
        "--null",
        is_flag=True,
        group="Input",
        help="File names in lists are separated by NUL bytes, not newlines.",
    ),
    run_option(
        "--coco",
        type=click.Path(dir_okay=False, path_type=Path),
        group="Input",
        help="Read the list of images and their ids from a COCO file.",
    ),
    run_option(
        "--image-root",
        type=click.Path(file_okay=False, path_type=Path),
        group="Input",
        help="Folder of the images that a COCO file names.  [default: the folder of the COCO file]",
    ),
)


def file_argument(name: str, metavar: str) -> Callable[[F], F]:
    """Declare a file argument, ``-`` (standard input) by default."""
    return click.argument(name, default="-", metavar=f"[{metavar}]")


def files_option(*declarations: str, **kwargs: Any) -> Callable[[F], F]:
    """Declare an option that names an input file; provenance records its content, not its name."""
    kwargs.setdefault("metavar", "FILE")
    kwargs.setdefault("group", "Input")
    return run_option(*declarations, **kwargs)


_output = (
    run_option(
        "-o",
        "--output",
        default="-",
        metavar="PATH",
        group="Output",
        help="Output file; - is standard output.",
    ),
    run_option(
        "--no-clobber", is_flag=True, group="Output", help="Refuse to replace an existing output."
    ),
)


def output_options(function: F) -> F:
    """Declare ``-o`` and ``--no-clobber``."""
    for declare in reversed(_output):
        function = declare(function)
    return function


# The parameter is called as the option is: environment variables and config files go by its name.
format_option = bundle(
    "kind",
    lambda **values: values["format"],
    run_option(
        "--format",
        type=click.Choice(["coco", "results", "ndjson"]),
        default="coco",
        group="Output",
        help="A full COCO object, the bare list of annotations, or one annotation per line.",
    ),
)


def _run_settings(shard: str, jobs: int | None, **options: Any) -> RunSettings:
    context = click.get_current_context()
    # The commands of a pipe share one terminal on stderr: only the last may draw a live bar.
    piped = options["output"] == "-" and not sys.stdout.isatty()
    plain = piped or context.find_root().meta["unsam.plain"]
    return RunSettings(
        step=step_of(context),
        shard=parse_shard(shard, os.environ),
        jobs=jobs or usable_cpus(),
        report=reporter_factory(plain=plain),
        **options,
    )


def step_of(context: click.Context) -> Step:
    """Return the running command with every option that changes results."""
    values: dict[str, Any] = {}
    for parameter in context.command.params:
        if isinstance(parameter, Option) and parameter.provenance and parameter.name:
            name = max(parameter.opts, key=len).lstrip("-")
            values[name] = _plain(context.params[parameter.name])
    return Step(context.info_name or "", values)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return ",".join(str(v) for v in value)
    return str(value) if isinstance(value, Path) else value


on_error_option = run_option(
    "--on-error",
    type=click.Choice(["fail", "skip"]),
    default="fail",
    help="fail: stop at the first bad image. skip: list bad images in OUTPUT.errors.jsonl, "
    "continue, and exit with 3.",
)

run_options = bundle(
    "run",
    _run_settings,
    *_output,
    run_option(
        "--resume",
        is_flag=True,
        help="Keep the finished images of an interrupted run and compute the rest.",
    ),
    run_option(
        "--shard",
        default="0/1",
        metavar="K/N|slurm",
        help="Process images K, K+N, K+2N, ...; slurm takes K and N from the Slurm task.",
    ),
    on_error_option,
    option("--seed", default=0, type=SEED, group="Run", help="Seed of all random numbers."),
    run_option(
        "--jobs",
        type=click.IntRange(1),
        group="Compute",
        help="Number of worker threads.  [default: the CPUs this process may use]",
    ),
)


@dataclass(frozen=True)
class Compute:
    """Where and how a network runs."""

    device: str
    dtype: str
    batch_size: int


device_option = run_option(
    "--device",
    default="auto",
    metavar="auto|cpu|cuda[:N]|mps",
    group="Compute",
    help="Device that computes; auto uses a GPU if there is one.",
)
batch_size_option = run_option(
    "--batch-size",
    type=click.IntRange(1),
    default=8,
    group="Compute",
    help="Inputs per network batch, on a GPU.",
)


def compute_bundle(*dtypes: str, about: str) -> Callable[[F], F]:
    """Declare ``--device --dtype --batch-size``; the first of `dtypes` is the default."""
    return bundle(
        "compute",
        Compute,
        device_option,
        option(
            "--dtype", type=click.Choice(dtypes), default=dtypes[0], group="Compute", help=about
        ),
        batch_size_option,
    )


compute_options = compute_bundle(
    "float32", "bfloat16", "float16", about="Precision of the network."
)
