"""Run many items through one network: batches across items, in one separate thread.

A network has one thread of its own, so that it waits neither for the threads that prepare inputs
nor for those that use its outputs::

    items -> prepare (threads) -> batches (one thread) -> finish (threads) -> results in order

Only a limited number of items is in progress, so memory does not grow with the number of items.
"""

from __future__ import annotations

import queue
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, TypeVar

from unsam_cli.errors import UnsamError
from unsam_cli.run.parallel import attempt

T = TypeVar("T")  # item
P = TypeVar("P")  # prepared item
I = TypeVar("I")  # noqa: E741  # input of the network
O = TypeVar("O")  # noqa: E741  # output of the network
R = TypeVar("R")  # result


@dataclass(frozen=True)
class Network(Generic[P, I, O, R]):
    """The computation.

    Attributes
    ----------
    inputs : callable
        Returns the inputs of a prepared item.
    key : callable
        Returns the key of an input. Inputs with equal keys may be computed together.
    compute : callable
        Turns inputs with equal keys into as many outputs. Only one thread calls it.
    finish : callable
        Turns the outputs of an item into its result, in a thread of the pool.
    """

    inputs: Callable[[P], Sequence[I]]
    key: Callable[[I], Hashable]
    compute: Callable[[Sequence[I]], Iterable[O]]
    finish: Callable[[P, Sequence[O]], R]


class _Job(Generic[P, I, O, R]):
    """An item in progress."""

    def __init__(self, prepared: Future[P]) -> None:
        self.prepared = prepared
        self.done: Future[R] = Future()
        self.inputs: Sequence[I] = ()
        self.outputs: dict[int, O] = {}


@dataclass(frozen=True, slots=True)
class _Slot(Generic[P, I, O, R]):
    """One input of a job that waits for its batch; `turn` is the number of its item."""

    job: _Job[P, I, O, R]
    index: int
    turn: int


class Batcher(Generic[P, I, O, R]):
    """The thread that runs the network.

    Inputs with equal keys wait for each other until they fill a batch, but only for the next `lag`
    items. The waiting time is counted in items, so the same items always form the same batches.

    Parameters
    ----------
    network : Network
        The computation.
    pool : Executor
        Runs ``network.finish``.
    batch_size : int
        Number of inputs in a full batch.
    """

    def __init__(self, network: Network[P, I, O, R], pool: Executor, batch_size: int) -> None:
        self.lag = batch_size
        self._network, self._pool, self._batch_size = network, pool, batch_size
        self._queue: queue.SimpleQueue[_Job[P, I, O, R] | None] = queue.SimpleQueue()
        self._waiting: defaultdict[Hashable, list[_Slot[P, I, O, R]]] = defaultdict(list)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="network", daemon=True)

    def __enter__(self) -> Batcher[P, I, O, R]:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop after the batch that is being computed."""
        self._stopped.set()
        self._queue.put(None)
        self._thread.join()

    def results(
        self, items: Iterable[T], prepare: Callable[[T], Future[P]], *, ahead: int
    ) -> Iterator[tuple[T, R | UnsamError]]:
        """Yield (item, result or error) in the order of the items.

        Parameters
        ----------
        items : iterable
            The items. Only a bounded number is read ahead.
        prepare : callable
            Starts to prepare an item.
        ahead : int
            Most items in progress, besides those that wait for their batch.
        """
        pending: deque[tuple[T, Future[R]]] = deque()
        for item in items:
            job: _Job[P, I, O, R] = _Job(prepare(item))
            self._queue.put(job)
            pending.append((item, job.done))
            if len(pending) >= self.lag + ahead:
                first, future = pending.popleft()
                yield first, attempt(future.result)
        self._queue.put(None)  # no item follows, so incomplete batches can run now
        while pending:
            first, future = pending.popleft()
            yield first, attempt(future.result)

    def _work(self) -> None:
        turn = 0
        while (job := self._queue.get()) is not None and not self._stopped.is_set():
            self._admit(job, turn)
            self._run_overdue(turn - self.lag)
            turn += 1
        if not self._stopped.is_set():
            self._run_overdue(turn)

    def _admit(self, job: _Job[P, I, O, R], turn: int) -> None:
        """Queue the inputs of an item, and run the batches that are full."""
        try:
            job.inputs = self._network.inputs(job.prepared.result())
        except BaseException as error:
            job.done.set_exception(error)
            return
        if not job.inputs:
            self._complete(job)
        for index, one in enumerate(job.inputs):
            key = self._network.key(one)
            slots = self._waiting[key]
            slots.append(_Slot(job, index, turn))
            if len(slots) == self._batch_size:
                self._run(self._waiting.pop(key))

    def _run_overdue(self, turn: int) -> None:
        """Run the inputs that have waited since item `turn` or longer."""
        for key in [k for k, slots in self._waiting.items() if slots[0].turn <= turn]:
            self._run(self._waiting.pop(key))

    def _run(self, slots: list[_Slot[P, I, O, R]]) -> None:
        try:
            outputs = self._network.compute([slot.job.inputs[slot.index] for slot in slots])
        except BaseException as error:
            for slot in slots:
                if not slot.job.done.done():
                    slot.job.done.set_exception(error)
            return
        for slot, output in zip(slots, outputs, strict=True):
            slot.job.outputs[slot.index] = output
            if len(slot.job.outputs) == len(slot.job.inputs):
                self._complete(slot.job)

    def _complete(self, job: _Job[P, I, O, R]) -> None:
        """Finish an item whose outputs are complete."""

        def finish() -> None:
            try:
                outputs = [job.outputs[index] for index in range(len(job.inputs))]
                result = self._network.finish(job.prepared.result(), outputs)
            except BaseException as error:
                job.done.set_exception(error)
            else:
                job.done.set_result(result)

        if not job.done.done():
            self._pool.submit(finish)
