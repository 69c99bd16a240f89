"""The loop that every command runs: items in, results into a sink, nothing lost on the way."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from unsam_cli.errors import EXIT_SKIPPED, StoppedError, UnsamError
from unsam_cli.run.output import STDOUT, output_path
from unsam_cli.run.parallel import ItemError
from unsam_cli.run.progress import LineReporter, ReporterFactory
from unsam_cli.run.provenance import Step
from unsam_cli.run.resources import usable_cpus
from unsam_cli.run.shards import Shard
from unsam_cli.run.signals import stop_on_signals

logger = logging.getLogger(__name__)


class Item(Protocol):
    """An image as the loop sees it."""

    @property
    def id(self) -> int:
        """Id in the outputs."""
        ...

    @property
    def file_name(self) -> str:
        """Name in the outputs."""
        ...


I = TypeVar("I", bound=Item)  # noqa: E741
R = TypeVar("R")
I_in = TypeVar("I_in", bound=Item, contravariant=True)
R_in = TypeVar("R_in", contravariant=True)


class Sink(Protocol[I_in, R_in]):
    """Where the results of a run go: see :mod:`unsam_cli.run.sinks`."""

    @property
    def done(self) -> frozenset[int]:
        """Ids whose results an earlier run left."""
        ...

    def add(self, item: I_in, result: R_in) -> None:
        """Store the result of one item."""

    def check_names(self, items: Iterable[Item]) -> None:
        """Refuse to resume with another list of images."""

    def finish(self, order: Iterable[int]) -> None:
        """Publish the results of the given ids, in this order."""

    def suspend(self) -> None:
        """Keep what there is for ``--resume``."""


@dataclass(frozen=True)
class RunSettings:
    """How to run, whatever is run.

    Parameters
    ----------
    step : Step
        The command and its options, for the history in the output.
    output : str
        A path, or ``-`` for standard output.
    no_clobber, resume : bool
        Refuse to replace an output; continue one.
    shard : Shard
        The part of the images that is this process's.
    on_error : {'fail', 'skip'}
        What a bad item does.
    seed : int
        Root of all random numbers.
    jobs : int
        Worker threads.
    report : callable
        Makes a progress reporter from a stage's name and the number of items.
    """

    step: Step
    output: str = STDOUT
    no_clobber: bool = False
    resume: bool = False
    shard: Shard = field(default_factory=Shard)
    on_error: str = "fail"
    seed: int = 0
    jobs: int = field(default_factory=usable_cpus)
    report: ReporterFactory = LineReporter

    def with_inputs(self, **inputs: str) -> RunSettings:
        """Return a copy whose history also names `inputs` by their identities."""
        return replace(self, step=self.step.with_inputs(**inputs))


def run_items(
    items: Sequence[I],
    work: Callable[[Sequence[I]], Iterator[tuple[I, R | UnsamError]]],
    sink: Sink[I, R],
    settings: RunSettings,
) -> int:
    """Work on this process's share of `items` and publish the results.

    Parameters
    ----------
    items : sequence
        All images of the run, before sharding, in the order of the output.
    work : callable
        Turns items into (item, result or error) pairs, in order, lazily.
    sink : Sink
        Stores the results; what it already holds is not computed again.
    settings : RunSettings
        The run's settings.

    Returns
    -------
    int
        The exit code: 0, or 3 when items were skipped.

    Raises
    ------
    UnsamError
        An item failed and ``on_error`` is ``fail``. What was finished is kept for ``--resume``.
    StoppedError
        SIGTERM or SIGUSR1 arrived; the state is saved.
    """
    mine = settings.shard.take(items)
    todo = [item for item in mine if item.id not in sink.done]
    try:
        sink.check_names(items)
        errors = ErrorList(settings)
        _work_through(todo, work, sink, settings, errors)
        sink.finish([item.id for item in mine if item.id in sink.done])
    except BaseException:
        sink.suspend()
        raise
    return EXIT_SKIPPED if errors.count else 0


def _work_through(
    todo: Sequence[I],
    work: Callable[[Sequence[I]], Iterator[tuple[I, R | UnsamError]]],
    sink: Sink[I, R],
    settings: RunSettings,
    errors: ErrorList,
) -> None:
    name = settings.step.command
    results = work(todo)
    with stop_on_signals() as stop, settings.report(name, len(todo)) as progress:
        left = len(todo)
        for item, result in results:
            if isinstance(result, UnsamError):
                errors.add(item, result)
            else:
                sink.add(item, result)
            progress.advance(skipped=isinstance(result, UnsamError))
            left -= 1
            if stop and left:
                results.close()  # type: ignore[attr-defined]  # generators, all of them
                raise StoppedError(_stopped_text(stop.signal_name, left, settings))


def _stopped_text(signal_name: str | None, left: int, settings: RunSettings) -> str:
    text = f"{settings.step.command}: stopped by {signal_name} with {left} images to go"
    if output_path(settings.output) is None:
        return f"{text}; standard output cannot be resumed, give -o FILE"
    return f"{text}; run again with --resume"


class ErrorList:
    """Items that failed: the first ends the run, or all are listed in ``OUTPUT.errors.jsonl``."""

    def __init__(self, settings: RunSettings) -> None:
        self.settings = settings
        self.count = 0
        output = output_path(settings.output)
        self.path = None if output is None else Path(f"{output}.errors.jsonl")
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def add(self, item: Item, error: UnsamError) -> None:
        """Note that `item` failed.

        Raises
        ------
        UnsamError
            The error itself, unless failing items are skipped.
        """
        if isinstance(error, ItemError):
            error.args = (f"{item.file_name}: {error}",)
        if self.settings.on_error != "skip":
            raise error
        self.count += 1
        logger.warning("skipped %s: %s", item.file_name, error)
        entry: dict[str, Any] = {
            "file_name": item.file_name,
            "stage": self.settings.step.command,
            "error": str(error),
        }
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(entry, ensure_ascii=False) + "\n")
