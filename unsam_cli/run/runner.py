"""The loop of every command: process items, and store their results safely in a sink."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import repeat
from pathlib import Path
from typing import Protocol, TypeVar

from unsam_cli.errors import (
    EXIT_SKIPPED,
    InterruptError,
    StoppedError,
    UnsamError,
    UsageError,
    counted,
)
from unsam_cli.io.left_out import LeftOut
from unsam_cli.run.error_list import ErrorList
from unsam_cli.run.items import Item, fault_of
from unsam_cli.run.newer import tell_newer
from unsam_cli.run.output import output_path
from unsam_cli.run.parallel import in_order
from unsam_cli.run.progress import Reporter
from unsam_cli.run.settings import RunSettings
from unsam_cli.run.signals import stop_on_signals

logger = logging.getLogger(__name__)

I = TypeVar("I", bound=Item)  # noqa: E741
R = TypeVar("R")
I_in = TypeVar("I_in", bound=Item, contravariant=True)
R_in = TypeVar("R_in", contravariant=True)


class Sink(Protocol[I_in, R_in]):
    """The destination of the results of a run: see :mod:`unsam_cli.run.sinks`."""

    @property
    def name(self) -> str:
        """Path of the output, for names of files next to it; a shard of a folder has its own."""
        ...

    @property
    def done(self) -> frozenset[int]:
        """Ids of items whose results an earlier run has stored."""
        ...

    @property
    def made_at(self) -> int:
        """Date, in ns, of the complete output whose results are reused; 0 if there is none."""
        ...

    def add(self, item: I_in, result: R_in, content: int | None = None) -> None:
        """Store the result of one item, and the checksum of its inputs."""

    def begin(self, items: Sequence[Item]) -> None:
        """Record all images of the run; refuse to resume with another list."""

    def content(self, item: Item) -> int | None:
        """Return the checksum that was stored with a finished item, if any."""
        ...

    def forget(self, item: Item) -> None:
        """Mark a finished item to be recomputed."""

    def finish(self, order: Iterable[int]) -> None:
        """Publish the results of the given ids, in this order."""

    def suspend(self) -> None:
        """Keep the finished results for ``--resume``."""


def run_items(
    items: Sequence[I],
    work: Callable[[Sequence[I]], Iterator[tuple[I, R | UnsamError]]],
    sink: Sink[I, R],
    settings: RunSettings,
    *,
    content: Callable[[I], int | None] | None = None,
    sources: Callable[[I], Sequence[Path]] | None = None,
    left_out: Callable[[I], Sequence[LeftOut]] | None = None,
    strays: Sequence[tuple[str, LeftOut]] = (),
) -> int:
    """Process this process's share of `items`, and publish the results.

    Parameters
    ----------
    items : sequence
        All images of the run, before sharding, in the order of the output.
    work : callable
        Turns items into (item, result or error) pairs, in order, lazily.
    sink : Sink
        Stores the results. Results that it already has are not recomputed.
    settings : RunSettings
        The settings of the run.
    content : callable, optional
        Returns the checksum of the inputs of an item, or None if they cannot be read. A resumed run
        recomputes an item if its checksum has changed.
    sources : callable, optional
        Returns the input files of an item. A complete output has no checksums, so a warning is
        logged if one of its input files is newer.
    left_out : callable, optional
        Returns the annotations that were left out of the result of an item, which are listed.
    strays : sequence of (str, LeftOut)
        Annotations that belong to no item, with the ids of their images. The first shard lists
        them.

    Returns
    -------
    int
        The exit code: 0, or 3 when items, or annotations of them, were skipped.

    Raises
    ------
    UnsamError
        An item failed and ``on_error`` is ``fail``. Finished results are kept for ``--resume``.
    StoppedError
        SIGTERM or SIGUSR1 was received; the state is saved.
    """
    mine = settings.shard.take(items)
    if output_path(settings.output) is None:
        content = None  # a stream cannot be resumed
    try:
        sink.begin(items)
        _refuse_other_shard(items, mine, sink.done, sink.name)
        if content is not None:
            _forget_changed(mine, sink, content, settings)
        before = sink.done
        if sources is not None and sink.made_at:
            old = [item for item in mine if item.id in before and sink.content(item) is None]
            paths = (path for item in old for path in sources(item))
            tell_newer(paths, sink.made_at, settings.told_as or sink.name)
        left = [item for item in mine if item.id not in before]
        kept = {item.file_name for item in mine if item.id in before}
        todo = [item for item in left if not fault_of(item)]
        errors = ErrorList(sink.name, settings.step.command, settings.on_error, kept)
        sums = _sums(content, todo, settings.jobs)
        errors.add_faulty(left)
        if settings.shard.index == 0:
            errors.add_strays(strays)
        progress = settings.report(settings.step.command, len(todo), len(mine) - len(left))
        _work_through(todo, work, sink, settings, errors, sums, progress, left_out)
        done = sink.done
        sink.finish([item.id for item in mine if item.id in done])
    except BaseException:
        sink.suspend()
        raise
    return EXIT_SKIPPED if errors.finish() else 0


def _refuse_other_shard(
    items: Sequence[Item], mine: Sequence[Item], done: frozenset[int], output: str
) -> None:
    """Raise a UsageError if resuming would drop results of another shard."""
    kept = {item.id for item in mine}
    for item in items:
        if item.id in done and item.id not in kept:
            raise UsageError(
                f"{output}: contains image {item.id} ({item.file_name}), which is not in "
                "this shard; resume with the original --shard, or choose another output"
            )


def _forget_changed(
    mine: Sequence[I], sink: Sink[I, R], content: Callable[[I], int | None], settings: RunSettings
) -> None:
    """Recompute images that have changed."""
    before = sink.done
    kept = [item for item in mine if item.id in before]
    changed = 0
    for item, now in zip(kept, _sums(content, kept, settings.jobs), strict=True):
        if now is not None and sink.content(item) not in (None, now):
            sink.forget(item)
            changed += 1
    if changed:
        logger.warning("%s changed after the earlier run: done again", counted(changed, "image"))


def _sums(
    content: Callable[[I], int | None] | None, items: Sequence[I], jobs: int
) -> Generator[int | None, None, None]:
    """Yield checksums, or None for an item that cannot be read, which is reported later."""
    if content is None:
        yield from repeat(None)
        return
    with closing(in_order(content, items, jobs=jobs)) as found:
        for _, value in found:
            yield None if isinstance(value, UnsamError) else value


def _work_through(
    todo: Sequence[I],
    work: Callable[[Sequence[I]], Iterator[tuple[I, R | UnsamError]]],
    sink: Sink[I, R],
    settings: RunSettings,
    errors: ErrorList,
    sums: Generator[int | None, None, None],
    reporter: Reporter,
    left_out: Callable[[I], Sequence[LeftOut]] | None,
) -> None:
    """Process the items of `todo`, and store each result with its checksum from `sums`.

    The other arguments are those of `run_items`, the list of failed items, and the progress.
    """
    # The generator is always closed here. Otherwise the garbage collector may close it in one of
    # its own threads, which then waits for itself.
    results = closing(work(todo))  # type: ignore[type-var]  # generators, all of them
    left = len(todo)
    try:
        with (
            closing(sums),
            stop_on_signals() as stop,
            reporter as progress,
            results as pairs,
        ):
            for item, result in pairs:
                content = next(sums)
                if isinstance(result, UnsamError):
                    errors.add(item, result)
                else:
                    errors.add_annotations(item.file_name, left_out(item) if left_out else ())
                    sink.add(item, result, content)
                progress.advance(skipped=isinstance(result, UnsamError))
                left -= 1
                if stop and left:
                    raise StoppedError(_stopped_text(stop.signal_name, left, settings))
    except KeyboardInterrupt:
        raise InterruptError(_stopped_text("Ctrl-C", left, settings)) from None


def _stopped_text(signal_name: str | None, left: int, settings: RunSettings) -> str:
    text = f"{settings.step.command}: stopped by {signal_name} with {counted(left, 'image')} left"
    if output_path(settings.output) is None:
        return f"{text}; standard output cannot be resumed, give -o FILE"
    return f"{text}; run again with --resume"
