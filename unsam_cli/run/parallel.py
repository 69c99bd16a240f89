"""Process several images at once, in threads, with results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from unsam_cli.errors import UnsamError, machine_error

MapFunctor = Callable[[Callable[..., Any], Iterable[Any]], Iterable[Any]]
T = TypeVar("T")
R = TypeVar("R")


class ItemError(UnsamError):
    """An unexpected error on one item."""


def ordered_map(
    function: Callable[[T], R], items: Iterable[T], *, jobs: int
) -> Generator[tuple[T, R | UnsamError], None, None]:
    """Yield (item, result or error) in the order of `items`.

    Kernels release the GIL, so threads use the cores without copying data. Linear algebra uses one
    thread per item, so that results do not depend on `jobs`.
    """
    with threadpool_limits(limits=1):
        yield from in_order(function, items, jobs=jobs)


def in_order(
    function: Callable[[T], R], items: Iterable[T], *, jobs: int
) -> Generator[tuple[T, R | UnsamError], None, None]:
    """Like :func:`ordered_map`, without a limit on the threads of linear algebra.

    Only a few items are read ahead, so memory does not grow with the number of items.
    """
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        pending: deque[tuple[T, Future[R | UnsamError]]] = deque()
        try:
            for item in items:
                pending.append((item, pool.submit(attempt, partial(function, item))))
                if len(pending) > 2 * jobs:
                    first, future = pending.popleft()
                    yield first, future.result()
            while pending:
                first, future = pending.popleft()
                yield first, future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def spread(count: int, jobs: int) -> Iterator[tuple[MapFunctor, int]]:
    """Let threads share `count` items; if there are fewer items, the parts of each item.

    Yields
    ------
    callable, int
        A function like the built-in `map` for the parts of an item, and the number of items to
        work on at once.
    """
    if count >= jobs:
        yield map, jobs
        return
    with ThreadPoolExecutor(jobs) as pool:
        yield pool.map, 1


def attempt(function: Callable[[], R]) -> R | UnsamError:
    """Return the result of `function`, or its error; unexpected errors become an ItemError."""
    try:
        return function()
    except UnsamError as e:
        return e
    except Exception as e:
        error: UnsamError = machine_error(e) or ItemError(
            f"{type(e).__name__}: {e}; --debug shows where"
        )
        error.__cause__ = e
        return error
