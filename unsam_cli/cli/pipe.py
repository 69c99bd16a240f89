"""``unsam run``: the commands of the pipe, one after the other, in one process.

The commands themselves parse their options, check them and run. So outputs and their history are
those of the pipe, byte for byte.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unsam_cli.cli.command import ONCE, SHARED, STANDS_FOR, Command
from unsam_cli.cli.defaults import config_file
from unsam_cli.cli.idle import is_idle
from unsam_cli.cli.pipe_options import OF_PICTURES, Words, names_in_run
from unsam_cli.cli.pipe_words import folders_of, given, only_folder, without_regions, words_of
from unsam_cli.errors import OutputError
from unsam_cli.refinement.settings import refuse_without_package
from unsam_cli.run.inputs import STDIN, ImageQuery, list_images
from unsam_cli.run.replacing import files_of, refuse_replacing
from unsam_cli.run.shards import Shard

if TYPE_CHECKING:
    from unsam_cli.run.stand_ins import StandIns


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
    keep, report, overlays, resume : bool
        Whether features and objects are kept; whether report and overlays are written; whether
        images whose masks are finished are left as they are.
    """

    commands: dict[str, click.Command]
    stages: Words
    images: ImageQuery
    output: Path
    shard: Shard
    keep: bool
    report: bool
    overlays: bool
    resume: bool

    def run(self) -> int:
        """Run the commands in order, and return the exit code: 0, or 3 if images were skipped.

        Raises
        ------
        UsageError
            An option of a command is wrong: all are checked before any work.
        """
        inner = self._inner
        usual = [inner / self._name(n) for n in ("features.h5", "objects.json", "regions.h5")]
        others = [path.with_name(f"rest.{path.name}") for path in usual]
        rest = self.resume and not self.keep and not any(p.exists() for p in usual)
        if rest := rest and self._masks.exists():
            click.get_current_context().meta[STANDS_FOR] = str(self._masks)
        folders = [path for path in (inner, self.output) if not path.exists()]
        try:
            code = self._stages(usual, others, rest)
        except BaseException:
            self._drop_list()
            _remove_empty(folders)
            raise
        if not self.keep:
            self._drop_list()
            for path in (*usual, *others):
                path.unlink(missing_ok=True)
            _remove_empty([inner])
        return code

    def _stages(self, usual: list[Path], others: list[Path], rest: bool) -> int:
        """Check the options of all commands, then run them; `rest` leaves finished images out."""
        asked = self._listed()
        steps = self._steps(others if rest else usual, asked)
        contexts = [self._context(*step) for step in steps]
        read_as = given(contexts[0], *OF_PICTURES)  # the masks are those of this page
        if _needs_originals(contexts[2], contexts[3]) and len(found := folders_of(asked)) == 1:
            name, words = steps[3]
            contexts[3] = self._context(name, ["--images", found[0], *read_as, *words])
        if self.report or self.overlays:
            contexts.append(self._context("view", [*self._view(asked), *read_as]))
        for context in contexts:
            _check(context)
        refuse_replacing(files_of(str(self._masks)), _places(asked))
        _make(self._inner)
        stand_ins = _stand_ins(self._masks, others) if rest else None
        code = 0
        for context in contexts:
            code = max(code, _run(context))
            if stand_ins is not None:
                stand_ins.date_back()
        return code

    def _name(self, name: str) -> str:
        file = Path(name)
        return f"{file.stem}.{self.shard.index}{file.suffix}" if self.shard.count > 1 else name

    @property
    def _masks(self) -> Path:
        return self.output / self._name("masks.json")

    @property
    def _inner(self) -> Path:
        return self.output / "stages"

    @property
    def _list(self) -> Path:
        return self._inner / self._name("images.txt")

    def _listed(self) -> ImageQuery:
        """Store a list from standard input in a file, since it is read more than once."""
        if STDIN not in self.images.arguments:
            return self.images
        _make(self._inner)
        self._list.write_bytes(sys.stdin.buffer.read())
        words = tuple(f"@{self._list}" if w == STDIN else w for w in self.images.arguments)
        return replace(self.images, arguments=words)

    def _drop_list(self) -> None:
        """Delete the list from standard input; a file of that name may be the user's, too."""
        if STDIN in self.images.arguments:
            self._list.unlink(missing_ok=True)

    def _steps(self, made: list[Path], images: ImageQuery) -> list[tuple[str, list[str]]]:
        """Return the names and the words of the commands."""
        whole, objects, regions = map(str, made)
        shared = given(click.get_current_context(), "resume", "on_error", "seed", "jobs")
        shard = ["--shard", str(self.shard)] if self.shard.count > 1 else []
        extract = self.stages["extract-features"]
        again = [*extract, "--regions", objects, "--whole-image"]
        named = words_of(images)
        return [
            (
                "extract-features",
                [*without_regions(extract), *shared, *shard, "-o", whole, *named],
            ),
            ("divide", [*self.stages["divide"], *shared, "-o", objects, whole]),
            ("extract-features", [*again, *shared, *shard, "-o", regions, *named]),
            ("conquer", [*self.stages["conquer"], *shared, "-o", str(self._masks), regions]),
        ]

    def _view(self, images: ImageQuery) -> list[str]:
        shared = given(click.get_current_context(), "on_error")
        words = [str(self._masks), "--images", only_folder(images), *shared]
        if self.report:
            words += ["-o", str(self.output / self._name("report.html"))]
        if self.overlays:
            words += ["--overlays", str(self.output / "overlays")]
        return words

    def _context(self, name: str, words: Sequence[str]) -> click.Context:
        root = _tell_as(name)
        config = config_file(click.get_current_context())
        every = [*root.meta[SHARED], *(["--config", config] if config else []), *words]
        return self.commands[name].make_context(name, every, parent=root)


def _stand_ins(masks: Path, files: Sequence[Path]) -> StandIns:
    from unsam_cli.run.stand_ins import StandIns  # imports h5py

    return StandIns.of(masks, files)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise OutputError(f"{folder}: cannot be created ({e.strerror}); choose another -o") from e


def _remove_empty(folders: Iterable[Path]) -> None:
    for path in folders:
        with suppress(OSError):  # of other shards, or lists of errors
            path.rmdir()


def _places(images: ImageQuery) -> Iterator[str]:
    yield from (item.place for item in list_images(images, keep_missing=True))


def _tell_as(stage: str) -> click.Context:
    """Let messages of a stage name its options as `run` does; return the context of the program."""
    run = click.get_current_context()
    root = run.find_root()
    root.meta[ONCE].options = names_in_run(run.command, stage)
    return root


def _needs_originals(extract: click.Context, conquer: click.Context) -> bool:
    """Whether there are tiles, whose small masks need more than previews.

    It depends on options alone, so that shards of one list of images agree and can be merged.
    """
    chosen = conquer.params["images"] is not None or is_idle("conquer", "images", conquer.params)
    return extract.params["tile"] is not None and not chosen


def _check(context: click.Context) -> None:
    _tell_as(str(context.info_name))
    if isinstance(context.command, Command):
        context.command.check(context)
    refuse_without_package(context.params.get("refine"))


def _run(context: click.Context) -> int:
    _tell_as(str(context.info_name))
    with context:
        try:
            context.command.invoke(context)
        except click.exceptions.Exit as e:
            return e.exit_code
    return 0
