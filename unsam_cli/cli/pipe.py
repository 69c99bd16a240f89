"""``unsam run``: the commands of the pipe, one after the other, in one process.

The commands themselves parse their options, check them and run. So outputs and their history are
those of the pipe, byte for byte.

``@stage_options``   ``stages``: for each command the words of its options, ``--divide.tau 0.2``
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from unsam_cli.cli.command import SHARED, F, Option, bundle
from unsam_cli.cli.defaults import config_file
from unsam_cli.errors import OutputError, UsageError
from unsam_cli.run.inputs import STDIN, ImageQuery, list_images
from unsam_cli.run.shards import Shard

_OWN = frozenset(
    {"images", "features", "null", "coco", "image_root", "regions", "whole_image", "detections"}
    | {"output", "no_clobber", "resume", "shard", "on_error", "seed", "jobs", "format", "config"}
    | {"quiet", "verbose", "log_json", "debug", "min_score"}
)
"""Parameters of the commands that `run` sets itself, or that have no place in its pipe."""
_OF_REGIONS = ("--region-size", "--tile", "--overlap")
Words = dict[str, list[str]]


def stage_options(*commands: click.Command) -> Callable[[F], F]:
    """Declare the options of commands under their names, as ``--divide.tau``.

    They reach the function as ``stages``: the words of each command, to be parsed by it.
    """
    declared = [
        (command.name or "", one)
        for command in commands
        for one in command.params
        if isinstance(one, Option) and one.name not in _OWN
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


def _parameter(name: str, one: Option) -> str:
    return f"{name}__{one.name}".replace("-", "_")


def _dotted(name: str, one: Option) -> Callable[[Any], Any]:
    """Return the declaration of an option of another command."""
    word = max(one.opts, key=len).lstrip("-")
    text = one.help or ""
    if one.default not in (None, False) and "[default" not in text:
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


@dataclass(frozen=True)
class Pipe:
    """What `run` does.

    Parameters
    ----------
    commands : dict
        The commands by name: those of the pipe, and view.
    stages : dict
        The words of their options.
    shard : Shard
        The part of the images; the names of its files have its number.
    keep, report, overlays : bool
        Whether features and objects are kept; whether report and overlays are written.
    """

    commands: dict[str, click.Command]
    stages: Words
    images: ImageQuery
    output: Path
    shard: Shard
    keep: bool
    report: bool
    overlays: bool

    def run(self) -> int:
        """Run the commands in order, and return the exit code: 0, or 3 if images were skipped.

        Raises
        ------
        UsageError
            An option of a command is wrong: all are checked before any work.
        """
        inner = self.output / "stages"
        made = {n: inner / self._name(n) for n in ("features.h5", "objects.json", "regions.h5")}
        asked = self._listed(inner)
        steps = self._steps(made, asked)
        if self.report or self.overlays:
            steps.append(("view", self._view(asked)))
        contexts = [self._context(*step) for step in steps]
        _make(inner)
        code = max(map(_run, contexts))
        if not self.keep:
            for path in made.values():
                path.unlink(missing_ok=True)
            with suppress(OSError):  # other shards, or lists of errors
                inner.rmdir()
        return code

    def _name(self, name: str) -> str:
        file = Path(name)
        return f"{file.stem}.{self.shard.index}{file.suffix}" if self.shard.count > 1 else name

    @property
    def _masks(self) -> Path:
        return self.output / self._name("masks.json")

    def _listed(self, inner: Path) -> ImageQuery:
        """Store a list from standard input in a file, since it is read more than once."""
        if STDIN not in self.images.arguments:
            return self.images
        _make(inner)
        place = inner / self._name("images.txt")
        place.write_bytes(sys.stdin.buffer.read())
        words = tuple(f"@{place}" if w == STDIN else w for w in self.images.arguments)
        return replace(self.images, arguments=words)

    def _steps(self, made: dict[str, Path], images: ImageQuery) -> list[tuple[str, list[str]]]:
        """Return the names and the words of the commands."""
        whole, objects, regions = map(str, made.values())
        shared = _given("resume", "on_error", "seed", "jobs")
        shard = ["--shard", str(self.shard)] if self.shard.count > 1 else []
        extract = self.stages["extract-features"]
        again = [*extract, "--regions", objects, "--whole-image"]
        named = _words_of(images)
        return [
            (
                "extract-features",
                [*_without_regions(extract), *shared, *shard, "-o", whole, *named],
            ),
            ("divide", [*self.stages["divide"], *shared, "-o", objects, whole]),
            ("extract-features", [*again, *shared, *shard, "-o", regions, *named]),
            ("conquer", [*self.stages["conquer"], *shared, "-o", str(self._masks), regions]),
        ]

    def _view(self, images: ImageQuery) -> list[str]:
        words = [str(self._masks), "--images", _folder(images), *_given("on_error")]
        if self.report:
            words += ["-o", str(self.output / self._name("report.html"))]
        if self.overlays:
            words += ["--overlays", str(self.output / "overlays")]
        return words

    def _context(self, name: str, words: Sequence[str]) -> click.Context:
        root = click.get_current_context().find_root()
        config = config_file(click.get_current_context())
        every = [*root.meta[SHARED], *(["--config", config] if config else []), *words]
        return self.commands[name].make_context(name, every, parent=root)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise OutputError(f"{folder}: cannot be created ({e.strerror}); choose another -o") from e


def _run(context: click.Context) -> int:
    with context:
        try:
            context.command.invoke(context)
        except click.exceptions.Exit as e:
            return e.exit_code
    return 0


def _given(*names: str) -> list[str]:
    """Return the words of options of `run` that were given, in whatever way."""
    context = click.get_current_context()
    words = []
    for name in names:
        value = context.params[name]
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            option = f"--{name.replace('_', '-')}"
            words += (
                ([option] if value else []) if isinstance(value, bool) else [option, str(value)]
            )
    return words


def _words_of(images: ImageQuery) -> list[str]:
    words = ["-0"] if images.null else []
    for option, path in (("--coco", images.coco), ("--image-root", images.image_root)):
        words += [] if path is None else [option, str(path)]
    return [*words, "--", *images.arguments]


def _without_regions(words: list[str]) -> list[str]:
    """Leave out what the features of whole images have no use for."""
    left = [i for i, word in enumerate(words) if word in _OF_REGIONS]
    return [word for i, word in enumerate(words) if i not in left and i - 1 not in left]


def _folder(images: ImageQuery) -> str:
    """Return the folder that the names of the images are relative to.

    Raises
    ------
    UsageError
        There are several.
    """
    found = {
        item.place.removesuffix(item.file_name) for item in list_images(images, keep_missing=True)
    }
    if len(found) > 1:
        names = ", ".join(sorted(found)[:2])
        raise UsageError(
            f"the images lie in several folders ({names}), and a report needs one: give a common "
            "parent, or use --no-report and unsam view"
        )
    return os.path.join(found.pop(), "") or "."
