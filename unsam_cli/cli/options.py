"""Options that several commands share, each defined once.

A command lists these options and its own. Options that belong together reach the command's function
as one object:

``@command``           every command: ``-q -v --log-json --debug --config``
``@images_argument``   ``images``: an :class:`~unsam_cli.run.inputs.ImageQuery` from IMAGES, ``-0``,
                       ``--coco``, ``--image-root``
``@file_argument``     a file, ``-`` is standard input (the default)
``@pixel_options``     ``--exif --page --bands --range``: how pictures are read
``@run_options``       ``run``: a :class:`~unsam_cli.run.settings.RunSettings` from ``-o
                       --no-clobber --resume --shard --on-error --seed --jobs``
``@mask_run_options``  the same with ``--format``, for commands whose output are masks
``@output_options``    ``-o --no-clobber`` alone, for commands without images to iterate over
``@on_error_option``   ``--on-error fail|skip``
``@seed_option``       ``--seed``
``@preset_option``     ``--preset``: other defaults for all options
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from unsam_cli.cli.bundle import F, bundle
from unsam_cli.cli.command import (
    OUTPUT_FILE,
    STANDS_FOR,
    command,
    option,
    preset_option,
    run_option,
    step_of,
)
from unsam_cli.cli.files import ListArgument
from unsam_cli.cli.log import reporter_factory
from unsam_cli.cli.settings import field_options, settings_options
from unsam_cli.io.settings import PixelSettings, reading_with
from unsam_cli.run.inputs import ImageQuery
from unsam_cli.run.settings import RunSettings
from unsam_cli.run.shards import parse_shard

__all__ = [
    "OUTPUT_FILE",
    "command",
    "file_argument",
    "files_option",
    "images_argument",
    "mask_run_options",
    "on_error_option",
    "option",
    "output_options",
    "pixel_options",
    "preset_option",
    "run_option",
    "run_options",
    "seed_option",
    "step_of",
]


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


def pixel_options(function: F) -> F:
    """Declare how pictures are read; the command runs with these settings."""

    @functools.wraps(function)
    def wrapper(*, pixels: PixelSettings, **kwargs: Any) -> Any:
        with reading_with(pixels):
            return function(**kwargs)

    declared: F = settings_options("pixels", PixelSettings)(wrapper)  # type: ignore[assignment]
    return declared


def file_argument(name: str, metavar: str) -> Callable[[F], F]:
    """Declare a file argument, ``-`` (standard input) by default."""
    return click.argument(name, default="-", metavar=f"[{metavar}]")


def files_option(*declarations: str, **kwargs: Any) -> Callable[[F], F]:
    """Declare an option that names an input file; provenance records its content, not its name."""
    kwargs.setdefault("metavar", "FILE")
    kwargs.setdefault("group", "Input")
    return run_option(*declarations, **kwargs)


output_options = field_options(RunSettings, "output", "no_clobber")
on_error_option = field_options(RunSettings, "on_error")
seed_option = field_options(RunSettings, "seed")


def run_settings(shard: str, **options: Any) -> RunSettings:
    context = click.get_current_context()
    return RunSettings(
        step=step_of(context),
        shard=parse_shard(shard, os.environ),
        report=reporter_factory(plain=context.find_root().meta["unsam.plain"]),
        told_as=context.meta.get(STANDS_FOR, ""),
        **options,
    )


run_options = settings_options("run", RunSettings, build=run_settings, leave_out=["kind"])
mask_run_options = settings_options("run", RunSettings, build=run_settings)
