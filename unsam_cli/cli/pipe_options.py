"""Options of ``unsam run`` for its stages.

``@stage_options``   ``stages``: for each command the words of its options, ``--divide.tau 0.2``
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from unsam_cli.cli.bundle import F, bundle
from unsam_cli.cli.command import Option
from unsam_cli.io.settings import PixelSettings
from unsam_cli.settings import declared_fields

_OWN = frozenset(
    {"images", "features", "null", "coco", "image_root", "regions", "whole_image", "detections"}
    | {"output", "no_clobber", "resume", "shard", "on_error", "seed", "jobs", "format", "config"}
    | {"quiet", "verbose", "log_json", "debug", "min_score"}
)
"""Parameters of the commands that `run` sets itself, or that have no place in its pipe."""
OF_PICTURES = tuple(one.name for one, _ in declared_fields(PixelSettings))
"""Parameters that say how pictures are read: all stages read them as extract-features does."""
Words = dict[str, list[str]]


def stage_options(*commands: click.Command) -> Callable[[F], F]:
    """Declare the options of commands under their names, as ``--divide.tau``.

    They reach the function as ``stages``: the words of each command, to be parsed by it.
    """
    declared = [
        (command.name or "", one)
        for command in commands
        for one in command.params
        if isinstance(one, Option)
        and one.name not in _OWN
        and not (command.name == "conquer" and one.name in OF_PICTURES)
    ]

    def collect(**values: Any) -> Words:
        words: Words = {command.name or "": [] for command in commands}
        for name, one in declared:
            value = values[_parameter(name, one)]
            flag = max(one.opts, key=len)
            if one.is_flag:
                words[name] += [flag] if value else []
            elif value is not None:
                words[name] += [flag, value]
        return words

    return bundle("stages", collect, *(_dotted(name, one) for name, one in declared))


def names_in_run(run: click.Command, stage: str) -> dict[str, str]:
    """Return how `run` calls the options of a stage: ``--tau`` is ``--divide.tau``.

    So is ``--tau of divide``, whichever stage says it.
    """
    names: dict[str, str] = {}
    for name in (name for one in run.params for name in one.opts if "." in name):
        owner, _, word = name.removeprefix("--").partition(".")
        names[f"--{word} of {owner}"] = name
        read_as = owner == "extract-features" and word in OF_PICTURES
        if read_as or owner == stage:
            names[f"--{word}"] = name
    return names


def _parameter(name: str, one: Option) -> str:
    return f"{name}__{one.name}".replace("-", "_")


def _dotted(name: str, one: Option) -> Callable[[Any], Any]:
    """Return the declaration of an option of another command."""
    word = max(one.opts, key=len).lstrip("-")
    text = one.help or ""
    if one.default is not None and not one.is_flag and "[default" not in text:
        text += f"  [default: {one.default}]"
    said: dict[str, Any] = {"is_flag": True} if one.is_flag else {"type": str, "default": None}
    if not one.is_flag:
        said["metavar"] = one.metavar or _values(one)
    names = (_parameter(name, one), f"--{name}.{word}")
    return click.option(*names, cls=Option, group=name, provenance=False, help=text, **said)


def _values(one: Option) -> str:
    """Return what stands for the value on the help page."""
    if isinstance(one.type, click.Choice):
        return f"[{'|'.join(map(str, one.type.choices))}]"
    return one.type.name.split()[0].upper()
